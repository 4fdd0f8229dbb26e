"""The checks of the Lua scripts: luacheck (see .luacheckrc) and the format of StyLua.

python -m tests.lua           what `make check` runs
python -m tests.lua --write   formats them
"""
