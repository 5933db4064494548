-- Mutants that no spec can tell from the library, and why: { file, a pattern of the mutated line, why }.
-- They are counted apart. An entry that fits no line of its file any more is an error.
return {
}
