"""Names of keys as browsers give them: the ``code`` of a ``KeyboardEvent``, by place and not by letter.

Source: W3C, "UI Events KeyboardEvent code Values", section 3 (the keys that people have; no media keys).
"""

from __future__ import annotations

import difflib
import string

__all__ = ["KEY_CODES", "similar_code"]

KEY_CODES = frozenset(
    [
        *(f"Key{letter}" for letter in string.ascii_uppercase),
        *(f"Digit{digit}" for digit in string.digits),
        *(f"Numpad{digit}" for digit in string.digits),
        *(f"F{number}" for number in range(1, 25)),
        *(f"Arrow{side}" for side in ("Left", "Up", "Right", "Down")),
        *(f"{key}{side}" for key in ("Shift", "Control", "Alt", "Meta") for side in ("Left", "Right")),
        *("Space", "Enter", "Tab", "Backspace", "Escape", "CapsLock", "ContextMenu"),
        *("Insert", "Delete", "Home", "End", "PageUp", "PageDown"),
        *("Minus", "Equal", "BracketLeft", "BracketRight", "Backslash", "Semicolon", "Quote", "Backquote"),
        *("Comma", "Period", "Slash", "IntlBackslash", "IntlRo", "IntlYen"),
        *("NumpadAdd", "NumpadSubtract", "NumpadMultiply", "NumpadDivide", "NumpadDecimal", "NumpadEnter"),
        *("NumLock", "ScrollLock", "PrintScreen", "Pause"),
    ]
)
"""What a key can be called; another name would be waited for in vain."""

_WORDS = {" ": "Space", "spacebar": "Space", "return": "Enter", "esc": "Escape", "ctrl": "ControlLeft"}


def similar_code(name: str) -> str | None:
    """Return the code that somebody meant by another name, ``None`` where that is anybody's guess."""
    word = name.casefold()
    if word in _WORDS:
        return _WORDS[word]
    by_word = {code.casefold(): code for code in sorted(KEY_CODES)}
    for code in (word, f"key{word}", f"digit{word}", f"arrow{word}", f"{word}left"):
        if code in by_word:
            return by_word[code]
    close = difflib.get_close_matches(word, by_word, n=1)
    return by_word[close[0]] if close else None
