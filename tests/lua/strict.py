"""An interpreter for memory mode that refuses what stock Redis' Lua and gopher-lua read differently.

As a plugin of pytest (``-p tests.lua.strict``) it takes the place of fakeredis's Lua 5.1 in the whole session. It is
Lua 5.4, where arithmetic on text is done by the metatable of strings, so that it can be refused.

    refused                                            stock Lua 5.1          gopher-lua
    arithmetic on text                                 10 for '010' + 0       8
    tonumber of an exponent without a dot, inf, nan    a number               nil
    string.format with anything but '%.0f', a number   coerces; has %q        '%!f(string=)'; %q and %f differ
    unpack of more than 4,000                          about 8,000            stops below 7,000

``pairs`` goes in another order each time. One difference is not noticed: a number that is joined to text with ``..``
shows 14 digits in one and all in the other; the scripts use ``text`` for each number that can be large.
"""

import os
from typing import Any

os.environ["FAKEREDIS_LUA_VERSION"] = "5.4"  # read at import; two interpreters in one process crash it

import fakeredis.commands_mixins.scripting_mixin as scripting

MAX_UNPACKED = 4000
PRELUDE = f"""
local real_format, real_tonumber, real_unpack, real_next = string.format, tonumber, table.unpack, next
local function refuse(what) error('not portable: ' .. what, 3) end

function tonumber(value, base)
  if type(value) == 'string' and not string.find(value, '^%-?%d*%.?%d*$') then
    local is_sure = string.find(value, '^%-?%d+%.%d*[eE][-+]?%d+$')
    if not is_sure and real_tonumber(value) then refuse('tonumber of ' .. value) end
    if string.find(string.lower(value), '^[-+]?inf') or string.find(string.lower(value), '^[-+]?nan') then
      refuse('tonumber of ' .. value)
    end
  end
  return real_tonumber(value, base)
end

function string.format(form, ...)
  if form ~= '%.0f' then refuse('the format ' .. form) end
  if math.type((...)) == nil then refuse('%.0f of a ' .. type((...))) end
  return real_format(form, ...)
end

function unpack(list, first, last)
  local count = (last or #list) - (first or 1) + 1
  if count > {MAX_UNPACKED} then refuse('unpack of ' .. count) end
  return real_unpack(list, first, last)
end

function pairs(list)
  local names = {{}}
  for name in real_next, list do
    table.insert(names, math.random(#names + 1), name)
  end
  local at = 0
  return function()
    at = at + 1
    if names[at] ~= nil then return names[at], list[names[at]] end
  end
end

for _, name in ipairs({{ 'add', 'sub', 'mul', 'div', 'mod', 'pow', 'unm', 'idiv' }}) do
  getmetatable('')['__' .. name] = function() refuse('arithmetic on text') end
end
"""


def make_strict(runtime: Any) -> None:
    """Lets a Lua 5.4 runtime refuse all that is not portable."""
    runtime.execute(PRELUDE.encode())


def install() -> None:
    """Lets fakeredis run scripts on strict interpreters from here on."""
    original = scripting.ScriptingCommandsMixin._get_server_runtime

    def strict_runtime(self: Any, server: Any) -> Any:
        is_new = not hasattr(server, "_lua_runtime")
        runtime = original(self, server)
        if is_new:
            make_strict(runtime)
            server._lua_expected_globals.add(b"unpack")
        return runtime

    scripting.ScriptingCommandsMixin._get_server_runtime = strict_runtime  # type: ignore[method-assign]


def pytest_configure() -> None:
    install()
