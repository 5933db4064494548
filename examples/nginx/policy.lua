-- Who runs next on this server. It is read again when it changes, with no request lost; a file that does not
-- load changes nothing. `order` takes up any of the shipped policies.
return {
  order = "fair",
}
