# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the sources of manual pages, in the format scdoc(5)."""

import re


class Page:
    def __init__(self, text):
        self.text = text
        self.title = re.match(r'(\S+)\((\d)\)', text)
        self.name, self.section = self.title[1], self.title[2]

    def part(self, heading):
        """The text below a heading, "# A" or "## B", up to the next heading of the same or a higher level."""
        level = len(heading.split()[0])
        parts = re.split(rf'^(#{{1,{level}}} .*)\n', outside_literals(self.text), flags=re.M)
        for found, body in zip(parts[1::2], parts[2::2]):
            if found == heading:
                return body.replace('\0', '#')
        raise AssertionError(f'{self.name}({self.section}) has no part "{heading}"')

    def terms(self, heading):
        """The terms that a part of the page explains: lines before an indented one."""
        return re.findall(r'^([^\t\n].*)\n(?=\t)', self.part(heading), re.M)

    def literals(self, heading):
        """The literal blocks of a part, as the page shows them."""
        return [unescape(block) for block in re.findall(r'^```\n(.*?)^```$', self.part(heading), re.M | re.S)]

    def references(self):
        """The pages that this page refers to."""
        return set(re.findall(r'\*([\w.-]+)\*\((\d\w*)\)', self.text))


def outside_literals(text):
    """The text without "#" at the start of lines of literal blocks, where it is no heading."""
    return re.sub(r'^```\n.*?^```$', lambda block: re.sub(r'^#', '\0', block[0], flags=re.M), text,
                  flags=re.M | re.S)


def unescape(text):
    return re.sub(r'\\(.)', r'\1', text, flags=re.S)


def plain(text):
    """Removes the marks for bold and underlined."""
    return unescape(re.sub(r'(?<!\w)[*_]|[*_](?!\w)', '', text))
