# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares the programs with the manual pages, the interface description, and other texts."""

import os
import re
import subprocess
import xml.etree.ElementTree

import scd

SERVICE = 'org.example.TCPServerSocket'
XML = f'data/{SERVICE}.xml'
CLIENT_XML = f'data/{SERVICE}.Client.xml'
INTERFACE_PAGE = f'data/man/{SERVICE}.5.scd'
CONFIGURATION_PAGE = 'data/man/tcpserversocketd.conf.5.scd'
DAEMON_PAGE = 'data/man/tcpserversocketd.8.scd'
TOOL_PAGE = 'data/man/tcpserversocketctl.1.scd'
EXAMPLE_RULE = 'data/50-tcpserversocket-alice-80.rules'
PAGES = [TOOL_PAGE, INTERFACE_PAGE, CONFIGURATION_PAGE, DAEMON_PAGE]
SERVERS = 'tests/servers/servers.py'
TEXTS = ['README.md', 'INSTALL.md', 'HACKING.md', 'NEWS.md', 'SECURITY.md', 'tests/README.md', 'tests/bench/README.md']

NAMES = 'src/base/names.h'
SETTINGS = 'src/daemon/policy/settings.c'
SETTINGS_HEADER = 'src/daemon/policy/settings.h'
DAEMON_HELP = 'tcpserversocketd --help'
TOOL_HELP = 'tcpserversocketctl --help'

# Environment variables of the tool that libraries read.
BY_LIBRARIES = {'DBUS_SYSTEM_BUS_ADDRESS', 'DBUS_SESSION_BUS_ADDRESS', 'XDG_RUNTIME_DIR', 'LC_ALL', 'LC_MESSAGES', 'LANG',
                'WATCHDOG_USEC'}

# Pairs of a title and a function that returns a list of problems.
CHECKS = []


def check(title):
    def add(function):
        CHECKS.append((title, function))
        return function
    return add


class Sources:
    """The text of files, and the output of programs, by name. Some texts can be replaced, to test the checks."""

    def __init__(self, root, programs, texts=()):
        self.root = root
        self.programs = programs
        self.texts = dict(texts)

    def __getitem__(self, name):
        if name not in self.texts:
            self.texts[name] = self.read(name)
        return self.texts[name]

    def read(self, name):
        if name.endswith(' --help'):
            return subprocess.run([self.programs[name.split()[0]], '--help'], check=True, stdout=subprocess.PIPE,
                                  text=True, env=dict(os.environ, LC_ALL='C.UTF-8', COLUMNS='200')).stdout
        if name.endswith('/*.c'):
            return '\n'.join(self[path] for path in self.paths(name[:-4], '.c'))
        with open(os.path.join(self.root, name)) as file:
            return file.read()

    def paths(self, directory, suffix):
        return sorted(os.path.relpath(os.path.join(parent, name), self.root)
                      for parent, _, names in os.walk(os.path.join(self.root, directory))
                      for name in names if name.endswith(suffix))

    def find(self, name, pattern):
        """All matches of a pattern in a text; the text of DIRECTORY/*.c is that of all files below it."""
        return set(re.findall(pattern, self[name], re.M))

    def page(self, name):
        return scd.Page(self[name])

    def terms(self, name, *headings):
        """The terms explained in some parts of a page, without marks."""
        return {scd.plain(term) for heading in headings for term in self.page(name).terms(heading)}

    def replaced(self, name, old, new):
        assert old in self[name], f'{name} does not have "{old}"'
        texts = {other: text for other, text in self.texts.items() if not other.endswith('/*.c')}
        return Sources(self.root, self.programs, {**texts, name: self[name].replace(old, new)})


def differ(kind, program, documented):
    """The differences of two sets, as problems."""
    return ([f'{kind} {item} is not documented' for item in sorted(program - documented)] +
            [f'{kind} {item} is documented, but does not exist' for item in sorted(documented - program)])


def between(text, first, last):
    assert first in text and last in text.partition(first)[2], f'there is no "{first}" with "{last}" after it'
    return text.partition(first)[2].partition(last)[0]


# The interface

def describe(member):
    """A member of an interface, in the notation of the page."""
    name = member.get('name')
    if member.tag == 'property':
        constant = any(a.get('name') == 'org.freedesktop.DBus.Property.EmitsChangedSignal' and a.get('value') == 'const'
                       for a in member.iter('annotation'))
        return f'{name} ({member.get("type")}{", constant" if constant else ""})'

    def arguments(direction):
        return ', '.join(f'{a.get("type")} {a.get("name")}' for a in member.iter('arg')
                         if a.get('direction', 'in') == direction)

    results = arguments('out')
    return f'{name}({arguments("in")})' + (f' -> ({results})' if results else '')


@check('members of the interfaces')
def members(sources):
    problems = []
    owners = {SERVICE: 'the manager', SERVICE + '.Listener': 'a listener', SERVICE + '.Client': 'a client'}
    for interface in [interface for name in (XML, CLIENT_XML)
                      for interface in xml.etree.ElementTree.fromstring(sources[name].encode())]:
        owner = owners[interface.get('name')]
        for tag, heading in ('method', 'Methods'), ('signal', 'Signals'), ('property', 'Properties'):
            found = {describe(member) for member in interface.iter(tag)}
            if found:
                problems += differ(f'{tag} of {owner}', found, sources.terms(INTERFACE_PAGE, f'## {heading} of {owner}'))
    return problems


def rows(sources, start):
    """Keys and types in a table of the interface description, as "KEY (TYPE)"."""
    return {f'{key} ({type})' for key, type in
            re.findall(r'<row><entry><literal>(\w+)</literal></entry><entry>(\w+)</entry>',
                       between(sources[XML], start, '</informaltable>'))}


def option_keys(sources):
    return dict(sources.find('src/daemon/policy/options.c', r'^ +\{ "(\w+)", +"(\w+)", +[^{}]+ +\},$'))


@check('options of Listen')
def listen_options(sources):
    program = {f'{key} ({type})' for key, type in option_keys(sources).items()}
    assert program
    return (differ('option', program, sources.terms(INTERFACE_PAGE, '# OPTIONS OF LISTEN')) +
            differ('option, in the interface description,', program, rows(sources, 'The options are the following')))


@check('errors')
def errors(sources):
    program = {'org.freedesktop.DBus.Error.' + name for name in
               sources.find('src/base/error.c', r'DBUS_ERROR\("(\w+)"\)') |
               {name.title().replace('_', '') for name in
                sources.find('src/daemon/outbox/error-reply.c', r'return SD_BUS_ERROR_(\w+)')}}
    program |= sources.find(NAMES, r'"(org\.example\.TCPServerSocket\.Error\.\w+)"')
    described = sources.find(XML, r'org\.(?:freedesktop\.DBus|example\.TCPServerSocket)\.Error\.\w+')
    documented = sources.terms(INTERFACE_PAGE, '# ERRORS')
    of_methods = {name for line in re.findall(r'Errors: (.*?)(?:\n\n|\n[^\t]|\Z)', sources[INTERFACE_PAGE], re.S)
                  for name in re.findall(r'\b[A-Z][a-z]+[A-Z]\w+', re.sub(r'\*\w+\*', '', line))}
    return (differ('error', program, documented) +
            [f'error {name} is only in the interface description' for name in sorted(described - program)] +
            [f'error {name} is not in the interface description' for name in sorted(program - described)
             if name.startswith(SERVICE)] +
            [f'error {name}, of a method, is not among the errors' for name in sorted(of_methods)
             if not any(known.endswith('.' + name) for known in documented)])


@check('identifiers of errors')
def identifiers(sources):
    """The rows of the table of errors, and of the table in the page, each as "IDENTIFIER (ERROR): VALUES"."""
    def describe_row(name, identifier, error, values):
        keys = re.findall(r'"(\w+)" }', values or '')
        if error == '""':
            error = 'signal'
        elif error == 'NULL':
            error = 'by cause'
        elif error.startswith('ERROR_NAME_'):
            error = error.removeprefix('ERROR_NAME_').title().replace('_', '')
        else:
            error = re.fullmatch(r'DBUS_ERROR\("(\w+)"\)', error)[1]
        return f'{identifier} ({error}): {" ".join(keys) or "-"}'

    table = re.findall(r'\[(ERROR_\w+)\] = \{\s*"([a-z0-9-]+)",\s*(\S+),\s*N_\((?:\s*"(?:[^"\\]|\\.)*")+\s*\),\s*'
                       r'(?:\{((?: \{ \'\w\', "\w+" },?)+) \},\s*)?\},', sources['src/base/error.c'])
    names = sources.find('src/base/error.h', r'^ {8}(ERROR_\w+),$')
    documented = {f'{identifier} ({error}): {re.sub("_(?=[a-zA-Z])|(?<=[a-zA-Z])_", "", values)}' for identifier, error, values
                  in re.findall(r'^\|  \*([a-z0-9-]+)\*\n:  (.*)\n:  (.*)$',
                                sources.page(INTERFACE_PAGE).part('## Identifiers of errors'), re.M)}
    return (differ('row', names, {row[0] for row in table}) +
            differ('error', {describe_row(*row) for row in table}, documented))


@check('reasons')
def reasons(sources):
    return differ('reason', sources.find('src/daemon/listener/listener.c', r'\[LISTENER_END_\w+\] = "(\w+)"'),
                  sources.terms(INTERFACE_PAGE, '# REASONS'))


@check('details of a connection')
def details(sources):
    return differ('detail', rows(sources, 'The details are the following'),
                  sources.terms(INTERFACE_PAGE, '# DETAILS OF A CONNECTION'))


@check('deliveries')
def deliveries(sources):
    return differ('delivery', sources.find('src/daemon/*.c', r'\.name = "(\w+)"'),
                  sources.terms(INTERFACE_PAGE, '# DELIVERIES'))


# The configuration

@check('settings')
def settings(sources):
    program = sources.find(SETTINGS, r'^ +\{ "(\w+)", read_')
    documented = {term.removesuffix('=') for term in sources.terms(CONFIGURATION_PAGE, '# SETTINGS')}
    example = sources['data/tcpserversocketd.conf']
    problems = (differ('setting', program, documented) +
                differ('setting, in tcpserversocketd.conf,', program, set(re.findall(r'^#(\w+)=', example, re.M))))

    # Ranges and defaults of the limits.
    macros = dict(sources.find(SETTINGS, r'^#define (\w+) (\d+)$') |
                  sources.find(SETTINGS_HEADER, r'^#define (\w+) (\d+)$'))
    defaults = {field: macros.get(value, value) for field, value in sources.find(SETTINGS, r'\.(\w+) = (\w+),')}
    for name, field, low, high in sources.find(
            SETTINGS, r'\{ "(\w+)", read_number, offsetof\(Settings, limits\.(\w+)\), (\w+),\s+(\w+) \}'):
        text = sources.page(CONFIGURATION_PAGE).part('# SETTINGS').partition(f'*{name}=*')[2].partition('\n*')[0]
        for value in f'{macros.get(low, low)} to {macros.get(high, high)}', f'{defaults[field]} by default':
            if value not in ' '.join(text.split()):
                problems.append(f'setting {name}: the page does not say "{value}"')
        if f'\n#{name}={defaults[field]}\n' not in example:
            problems.append(f'setting {name}: tcpserversocketd.conf does not say {defaults[field]}')
    return problems


# The programs

OPTION = r'(?:(-\w)\b)?(?:,? *(--[\w-]+)(\[=|=)?)?'


def format_options(matches):
    return {f'{letter} {name}{value}'.strip() for letter, name, value in matches}


def help_options(text):
    return format_options(re.findall(r'^ {1,6}(?=-)' + OPTION, text, re.M))


def help_verbs(text):
    return set(re.findall(r'^  ([a-z][\w-]+)(?: |$)', text, re.M))


def page_options(sources, page, *headings):
    return format_options(re.match(OPTION, term).groups('') for term in sources.terms(page, *headings))


@check('options of tcpserversocketd')
def daemon_options(sources):
    return differ('option', help_options(sources[DAEMON_HELP]), page_options(sources, DAEMON_PAGE, '# OPTIONS'))


@check('options of tcpserversocketctl')
def tool_options(sources):
    return differ('option', help_options(sources[TOOL_HELP]), page_options(sources, TOOL_PAGE, '# OPTIONS'))


@check('options of Listen as options of tcpserversocketctl')
def tool_listen_options(sources):
    program = {option.split()[-1].rstrip('[=') for option in help_options(sources[TOOL_HELP])}
    names = {key: '--' + re.sub(r'(?<=[a-z0-9])([A-Z])', lambda m: '-' + m[1].lower(), key) for key in option_keys(sources)}
    del names['channelBatch']  # the tool itself reads the channel
    del names['adopt']  # the tool itself sets it with --persistent
    del names['handler']  # of an object on the bus, which the tool does not have
    return [f'option {key} of Listen has no {name}' for key, name in names.items() if name not in program]


@check('verbs of tcpserversocketctl')
def tool_verbs(sources):
    return differ('verb', help_verbs(sources[TOOL_HELP]), {term.split()[0] for term in sources.terms(TOOL_PAGE, '# VERBS')})


@check('environment of tcpserversocketctl')
def tool_environment(sources):
    program = (sources.find('src/ctl/*.c', r'\bgetenv\("(\w+)"\)') |
               sources.find('src/ctl/*.c', r'"((?:LISTEN_|REMOTE_|LOCAL_|TCPREMOTE|TCPLOCAL|PROTO)[A-Z]*)"'))
    documented = {name for term in sources.terms(TOOL_PAGE, '# ENVIRONMENT', '## Environment of COMMAND')
                  for name in term.split(', ')}
    return differ('environment variable', program - {'PATH'}, documented - BY_LIBRARIES)


@check('JSON keys of tcpserversocketctl')
def tool_json(sources):
    program = (sources.find('src/ctl/*.c', r'\bjson_add\w*\(\w+, "(\w+)"') |
               sources.find('src/ctl/*.c', r'\bFIELD\("\w+",\s+"(\w+)"'))
    documented = set(re.findall(r'\*([a-z]\w*)\*', sources.page(TOOL_PAGE).part('# JSON')))
    return differ('JSON key', program, documented - help_verbs(sources[TOOL_HELP]))


@check('exit status of tcpserversocketctl')
def tool_exit_status(sources):
    program = set(re.findall(r'^  (\d+)\b', sources[TOOL_HELP].partition('Exit status:')[2], re.M))
    return [f'exit status {status} is not documented'
            for status in sorted(program - sources.terms(TOOL_PAGE, '# EXIT STATUS'))]


# The log, polkit, references

@check('log messages')
def messages(sources):
    program = sources.find('src/base/message-ids.h', r'#define MESSAGE_\w+_STR "(\w+)"')
    documented = {term.split()[0] for term in sources.terms(DAEMON_PAGE, '# LOGGING') if re.match(r'[0-9a-f]{32} ', term)}
    problems = differ('message', program, documented)
    for name in sources.paths('data', '.catalog'):
        problems += differ(f'message, in {os.path.basename(name)},', program, sources.find(name, r'^-- (\w+)$'))
    return problems


@check('polkit actions')
def actions(sources):
    program = sources.find(f'data/{SERVICE}.policy.in', r'<action id="([\w.-]+)">')
    documented = {term for term in sources.terms(DAEMON_PAGE, '# AUTHORIZATION') if term.startswith('org.')}
    return (differ('action', program, documented) +
            differ('action, in names.h,', program, sources.find(NAMES, r'#define ACTION_\w+ "([\w.-]+)"')))


@check('references between the pages')
def references(sources):
    pages = {(page.name, page.section) for page in map(sources.page, PAGES)}
    problems = []
    for page in map(sources.page, PAGES):
        title = page.title[0]
        see_also = scd.Page(f'{title}\n{page.part("# SEE ALSO")}').references()
        problems += [f'{title} does not refer to {name}({section})'
                     for name, section in sorted(pages - see_also - {(page.name, page.section)})]
        problems += [f'{title} refers to {name}({section}), which does not exist'
                     for name, section in sorted(page.references() - pages) if name.startswith(('tcpserversocket', SERVICE))]
    return problems


# Texts in the sources

@check('build options')
def build_options(sources):
    table = between(sources['INSTALL.md'], '| option | default | |\n|---|---|---|\n', '\n\n')
    documented = {name for names in re.findall(r'^\| (`.*?`) \|', table, re.M) for name in re.findall(r'`(\w+)`', names)}
    return differ('build option', sources.find('meson_options.txt', r"^option\('(\w+)'"), documented)


@check('version')
def versions(sources):
    def version(name, pattern):
        return re.search(pattern, sources[name], re.M)[1]

    expected = version('meson.build', r"^ +version : '([^']+)'")
    found = {name: version(name, pattern) for name, pattern in [
        ('NEWS.md', r'^## ([\d.]+)'),
        ('README.md', r'^Version ([\d.]*\d)'),
        ('data/arch/PKGBUILD', r'^pkgver=(.*)'),
        ('data/debian/changelog', r'\((.*?)\)'),
        ('data/rpm/tcpserversocket.spec', r'^Version: +(.*)'),
    ]}
    return [f'the version in {name} is {other}, not {expected}' for name, other in found.items() if other != expected]


def anchors(text):
    """The headings of a text, as links spell them."""
    text = re.sub(r'^```.*?^```$', '', text, flags=re.M | re.S)
    return {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in re.findall(r'^#+ (.*)$', text, re.M)}


@check('links between the texts')
def links(sources):
    problems = []
    for name in TEXTS:
        for target in re.findall(r'\]\(([^):\s]+)\)', sources[name]):
            path, _, anchor = target.partition('#')
            path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if not os.path.exists(os.path.join(sources.root, path)):
                problems.append(f'{name} refers to {path}, which does not exist')
            elif anchor and anchor not in anchors(sources[path]):
                problems.append(f'{name} refers to the heading {anchor} of {path}, which does not exist')
    return problems


@check('the example of a polkit rule')
def example_rule(sources):
    rule = sources[EXAMPLE_RULE].partition('\n\n')[2]
    page = sources.page(TOOL_PAGE)
    return [f'{name} differs from {EXAMPLE_RULE}' for name, found in (
        ('the rule in tcpserversocketctl(1)', rule in page.literals('# AT EVERY LOGIN, AT EVERY BOOT')),
        ('the name of the file in tcpserversocketctl(1)', os.path.basename(EXAMPLE_RULE) in page.text)) if not found]


@check('commands of servers in tcpserversocketctl(1)')
def server_commands(sources):
    """They are those that tests/servers runs. "# NAME, with "TEXT" in FILE" quotes the files of this test."""
    servers = {}
    exec(sources[SERVERS], servers)
    tested = {(server.name, f'tcpserversocketctl {command}') for server in servers['SERVERS'] for command in server.commands}
    texts = {server.name: '\n'.join(server.files.values()) for server in servers['SERVERS']}
    documented, problems = set(), []
    for block in sources.page(TOOL_PAGE).literals('# SERVERS'):
        for comment, name, command in re.findall(r'^# (([^,\n]+).*)\n(.*)$', re.sub(r' \\\n +', ' ', block), re.M):
            documented.add((name, command))
            problems += [f'{name} has no "{quoted}"' for quoted in re.findall(r'"(.*?)"', comment) if quoted not in texts[name]]
    return problems + ([f'{name}: {command} is not tested' for name, command in sorted(documented - tested)] +
                       [f'{name}: {command} is not documented' for name, command in sorted(tested - documented)])


@check('size of README.md')
def readme_size(sources):
    size = len(sources['README.md'].encode())
    return [f'README.md has {size} bytes, more than 4096'] if size > 4096 else []


@check('tests that SECURITY.md names')
def tests_of_threats(sources):
    """`NAME: CASE` is a case of a file test-NAME.c."""
    problems = []
    for name, case in re.findall(r'`([a-z][a-z-]+):\s+([^`]+)`', sources['SECURITY.md']):
        case = ' '.join(case.split())
        paths = [path for path in sources.paths('tests', '.c') if os.path.basename(path) == f'test-{name}.c']
        if not any(re.search(rf'"(/[^"/]+/)?{re.escape(case)}"', sources[path]) for path in paths):
            problems.append(f'SECURITY.md names the test {name}: {case}, which does not exist')
    return problems


@check('names in HACKING.md')
def names_in_hacking(sources):
    """The paths and functions in backticks, and the files in the drawing of the folders, exist."""
    text = sources['HACKING.md']
    drawing = between(text, '## How it is built', '\n`Listen`')
    code = sources['src/daemon/*.c'] + sources['src/base/*.c']
    paths = {path for path in re.findall(r'`((?:src|data)/[^`*\s\[]+)`', text) if not re.search('[A-Z]{2}', path)}
    folder = None
    for name, files in re.findall(r'^ {6,}(?:(\w+)/)? +([a-z][\w-]*(?:, [\w-]+)*)  ', drawing.partition('src/base/')[0], re.M):
        folder = name or folder
        paths |= {f'src/daemon/{folder}/{file}.c' for file in files.split(', ') if file[0] != '-'}
    return ([f'HACKING.md names {path}, which does not exist' for path in sorted(paths)
             if not any(os.path.exists(os.path.join(sources.root, path + suffix)) for suffix in ('', '.c'))] +
            [f'HACKING.md names {name}(), which does not exist' for name in sorted(set(re.findall(r'`(\w+)\(\)`', text)))
             if not re.search(rf'\b{name}(\(| =|\))', code)])
