# SPDX-License-Identifier: LGPL-2.1-or-later
"""A minimal producer of the Test Anything Protocol."""

import sys
import traceback

_cases = []


class Skip(Exception):
    """Raised by a test case that cannot run here."""


def case(name):
    """Registers a function as a test case, which fails if it raises an exception."""
    def add(function):
        add_case(name, function)
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
        except Skip as why:
            print(f'ok {number} - {name} # SKIP {why}', flush=True)
        except Exception as error:
            failed = True
            print(f'not ok {number} - {name}')
            text = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            print(''.join(f'# {line}\n' for line in text.splitlines()), end='', flush=True)
        else:
            print(f'ok {number} - {name}', flush=True)
    sys.exit(failed)
