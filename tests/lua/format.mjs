// Prints the files that StyLua would change; with --write it changes them.
import { readFileSync, writeFileSync } from 'node:fs'
import { CollapseSimpleStatement, Config, formatCode, IndentType, LuaVersion, OutputVerification, QuoteStyle } from '@johnnymorganz/stylua'

function style() {
  const config = Config.new() // formatCode takes it over, so each file needs its own
  config.syntax = LuaVersion.Lua51
  config.column_width = 120
  config.indent_type = IndentType.Spaces
  config.indent_width = 2
  config.quote_style = QuoteStyle.AutoPreferSingle
  config.collapse_simple_statement = CollapseSimpleStatement.Always
  return config
}

const files = process.argv.slice(2).filter((name) => name !== '--write')
for (const file of files) {
  const source = readFileSync(file, 'utf8')
  const formatted = formatCode(source, style(), undefined, OutputVerification.Full)
  if (formatted === source) continue
  console.log(file)
  if (process.argv.includes('--write')) writeFileSync(file, formatted)
}
