"""The tray: an icon, a menu, a window and a dialog that show a `Watch` and pass on what a person wants of it.

View and bridge only. What is shown is computed from one `WatchState` by functions that know no Qt (`mark`, `menu`,
`page`); the rest puts it on the screen. The watch runs in a thread of its own (`bridge`), Qt's objects stay in the
main one.
"""
