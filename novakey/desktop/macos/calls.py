"""The system calls of macOS that the backend uses, as ctypes needs to know them.

Names, arguments and results are those of Apple's references: Core Foundation, Quartz
Event Services, Accessibility (AXUIElement), Text Input Sources and Unicode Utilities
(Carbon), the Objective-C runtime. A CFIndex, NSInteger and unsigned long have eight bytes,
a UniChar two, a pid_t four.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import (
    POINTER,
    c_bool,
    c_char,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from types import SimpleNamespace
from typing import Any

from novakey.desktop.base import NoDisplayError

UTF8 = 0x08000100  # kCFStringEncodingUTF8
_MAX_STRING = 4096  # bytes read of a title, a name or a path

_FRAMEWORKS = "/System/Library/Frameworks"
LIBRARIES = {
    "corefoundation": f"{_FRAMEWORKS}/CoreFoundation.framework/CoreFoundation",
    "services": f"{_FRAMEWORKS}/ApplicationServices.framework/ApplicationServices",
    "carbon": f"{_FRAMEWORKS}/Carbon.framework/Carbon",
    "appkit": f"{_FRAMEWORKS}/AppKit.framework/AppKit",
    "system": "/usr/lib/libSystem.B.dylib",
    "objc": "/usr/lib/libobjc.A.dylib",
}

# library: function: (result, arguments). A reference to an object is a void pointer.
SIGNATURES: dict[str, dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "corefoundation": {
        "CFRetain": (c_void_p, (c_void_p,)),
        "CFRelease": (None, (c_void_p,)),
        "CFGetTypeID": (c_uint64, (c_void_p,)),
        "CFStringGetTypeID": (c_uint64, ()),
        "CFEqual": (c_uint8, (c_void_p, c_void_p)),
        "CFStringCreateWithBytes": (c_void_p, (c_void_p, POINTER(c_char), c_int64, c_uint32, c_uint8)),
        "CFStringGetCString": (c_uint8, (c_void_p, c_void_p, c_int64, c_uint32)),
        "CFDataGetBytePtr": (c_void_p, (c_void_p,)),
        "CFRunLoopRunInMode": (c_int32, (c_void_p, c_double, c_uint8)),
    },
    "services": {
        "CGEventSourceCreate": (c_void_p, (c_int32,)),
        "CGEventCreateKeyboardEvent": (c_void_p, (c_void_p, c_uint16, c_bool)),
        "CGEventKeyboardSetUnicodeString": (None, (c_void_p, c_uint64, POINTER(c_uint16))),
        "CGEventSetFlags": (None, (c_void_p, c_uint64)),
        "CGEventPost": (None, (c_uint32, c_void_p)),
        "AXIsProcessTrusted": (c_uint8, ()),
        "AXUIElementCreateSystemWide": (c_void_p, ()),
        "AXUIElementCreateApplication": (c_void_p, (c_int32,)),
        "AXUIElementSetMessagingTimeout": (c_int32, (c_void_p, c_float)),
        "AXUIElementCopyAttributeValue": (c_int32, (c_void_p, c_void_p, POINTER(c_void_p))),
        "AXUIElementGetPid": (c_int32, (c_void_p, POINTER(c_int32))),
    },
    "carbon": {
        "IsSecureEventInputEnabled": (c_uint8, ()),
        "TISCopyCurrentKeyboardLayoutInputSource": (c_void_p, ()),
        "TISGetInputSourceProperty": (c_void_p, (c_void_p, c_void_p)),
        "LMGetKbdType": (c_uint8, ()),
        "UCKeyTranslate": (
            c_int32,
            (
                *(c_void_p, c_uint16, c_uint16, c_uint32, c_uint32, c_uint32),
                *(POINTER(c_uint32), c_uint64, POINTER(c_uint64), POINTER(c_uint16)),
            ),
        ),
    },
    "system": {"proc_pidpath": (c_int32, (c_int32, c_void_p, c_uint32))},
    "objc": {
        "objc_getClass": (c_void_p, (c_char_p,)),
        "sel_registerName": (c_void_p, (c_char_p,)),
        "objc_autoreleasePoolPush": (c_void_p, ()),
        "objc_autoreleasePoolPop": (None, (c_void_p,)),
    },
}

# objc_msgSend has no signature of its own: it must be called as the method's. One name for each kind.
MESSAGES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "send_for_object": (c_void_p, (c_void_p, c_void_p)),
    "send_pid_for_object": (c_void_p, (c_void_p, c_void_p, c_int32)),
    "send_for_pid": (c_int32, (c_void_p, c_void_p)),
    "send_for_integer": (c_int64, (c_void_p, c_void_p)),
    "send_option_for_integer": (c_int64, (c_void_p, c_void_p, c_uint64)),
    "send_two_objects_for_bool": (c_bool, (c_void_p, c_void_p, c_void_p, c_void_p)),
}

# library: exported variables that hold a CFStringRef.
CONSTANTS = {"corefoundation": ("kCFRunLoopDefaultMode",), "carbon": ("kTISPropertyUnicodeKeyLayoutData",)}

Calls = SimpleNamespace
"""Functions, kinds of messages and constants by name, in one namespace."""


@functools.cache
def load() -> Calls:
    """Return the calls of this system; `NoDisplayError` where it is not macOS."""
    if sys.platform == "darwin":
        return bind({name: ctypes.CDLL(path) for name, path in LIBRARIES.items()}, _constant)
    raise NoDisplayError("this is not macOS")


def bind(libraries: Mapping[str, Any], constant: Any) -> Calls:
    """Declare every function to ctypes; `constant(library, name)` reads an exported variable."""
    calls = Calls()
    for library, functions in SIGNATURES.items():
        for name, (result, arguments) in functions.items():
            function = getattr(libraries[library], name)
            function.restype, function.argtypes = result, arguments
            setattr(calls, name, function)
    for kind, (result, arguments) in MESSAGES.items():
        send = ctypes.cast(libraries["objc"].objc_msgSend, ctypes.CFUNCTYPE(result, *arguments))
        setattr(calls, kind, send)
    for library, names in CONSTANTS.items():
        for name in names:
            setattr(calls, name, constant(libraries[library], name))
    return calls


def _constant(library: Any, name: str) -> Any:
    return c_void_p.in_dll(library, name).value


@contextmanager
def pool(calls: Calls) -> Iterator[None]:
    """Objects that methods give without ownership live until its end. Nothing may yield inside."""
    token = calls.objc_autoreleasePoolPush()
    try:
        yield
    finally:
        calls.objc_autoreleasePoolPop(token)


@contextmanager
def owned(calls: Calls, reference: int | None) -> Iterator[Any]:
    """Return a reference that Create or Copy gave (None where they gave none), released at the end."""
    try:
        yield reference
    finally:
        if reference:
            calls.CFRelease(reference)


def string(calls: Calls, text: str | bytes) -> Any:
    """Return a new CFString, which is an NSString too; to be released. None where there is no memory."""
    data = text.encode() if isinstance(text, str) else text
    buffer = ctypes.create_string_buffer(data, len(data) + 1)
    try:
        return calls.CFStringCreateWithBytes(None, buffer, len(data), UTF8, 0)
    finally:
        ctypes.memset(buffer, 0, len(data))


def text_of(calls: Calls, reference: int | None) -> str:
    """Return a CFString's text; empty for none, for another kind of object, and for more than we look at."""
    if not reference or calls.CFGetTypeID(reference) != calls.CFStringGetTypeID():
        return ""
    buffer = ctypes.create_string_buffer(_MAX_STRING)
    if not calls.CFStringGetCString(reference, ctypes.addressof(buffer), _MAX_STRING, UTF8):
        return ""
    return buffer.value.decode("utf-8", "replace")


def selector(calls: Calls, name: str) -> Any:
    """Return the selector of a method."""
    return calls.sel_registerName(name.encode())


def shared(calls: Calls, kind: str, method: str) -> Any:
    """Return the result of a class method without arguments, an object that we do not own."""
    found = calls.objc_getClass(kind.encode())
    return calls.send_for_object(found, selector(calls, method)) if found else None
