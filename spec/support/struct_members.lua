-- Names of the members of a C struct, from the text between its braces: the last word of each declarator.
---@param body string
---@return string[]
return function(body)
  local names = {}
  for statement in body:gmatch "[^;]+" do
    for declarator in statement:gmatch "[^,]+" do
      names[#names + 1] = declarator:match "([%w_]+)%s*%[?%d*%]?%s*$"
    end
  end
  return names
end
