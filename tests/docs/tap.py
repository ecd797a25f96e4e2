# SPDX-License-Identifier: LGPL-2.1-or-later
"""The Test Anything Protocol, as much of it as these tests speak."""

import sys
import traceback

_cases = []


def case(name):
    """Makes a function a test case; it fails by an exception."""
    def add(function):
        _cases.append((name, function))
        return function
    return add


def add_case(name, function):
    _cases.append((name, function))


def equal(actual, expected, what='it'):
    if actual != expected:
        raise AssertionError(f'{what} is {actual!r}, not {expected!r}')


def skip_all(why):
    print(f'1..0 # SKIP {why}')
    sys.exit(0)


def run():
    """Runs all cases, and exits."""
    failed = False
    print(f'1..{len(_cases)}', flush=True)
    for number, (name, function) in enumerate(_cases, 1):
        try:
            function()
        except Exception as error:
            failed = True
            print(f'not ok {number} - {name}')
            text = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            print(''.join(f'# {line}\n' for line in text.splitlines()), end='', flush=True)
        else:
            print(f'ok {number} - {name}', flush=True)
    sys.exit(failed)
