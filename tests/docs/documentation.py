# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the program has, what the manual pages say that it has, and where the two differ."""

import os
import re
import subprocess
import xml.etree.ElementTree

import scd

SERVICE = 'org.example.TCPServerSocket'
XML = f'data/{SERVICE}.xml'
INTERFACE_PAGE = f'data/man/{SERVICE}.5.scd'
CONFIGURATION_PAGE = 'data/man/tcpserversocketd.conf.5.scd'
DAEMON_PAGE = 'data/man/tcpserversocketd.8.scd'
TOOL_PAGE = 'data/man/tcpserversocketctl.1.scd'
PAGES = [TOOL_PAGE, INTERFACE_PAGE, CONFIGURATION_PAGE, DAEMON_PAGE]


class Sources:
    """The files of the project, and what its programs print, by name; some may be replaced by others' text."""

    def __init__(self, root, programs):
        self.root = root
        self.programs = programs  # by name
        self.texts = {}

    def __getitem__(self, name):
        if name not in self.texts:
            self.texts[name] = self.read(name)
        return self.texts[name]

    def read(self, name):
        if name.endswith(' --help'):
            return subprocess.run([self.programs[name.split()[0]], '--help'], check=True, stdout=subprocess.PIPE,
                                  text=True, env=dict(os.environ, LC_ALL='C.UTF-8', COLUMNS='200')).stdout
        with open(os.path.join(self.root, name)) as file:
            return file.read()

    def glob(self, directory, suffix):
        """All files of a directory and of those below it, as one text."""
        paths = [os.path.relpath(os.path.join(parent, name), self.root)
                 for parent, _, names in os.walk(os.path.join(self.root, directory)) for name in names]
        return '\n'.join(self[path] for path in sorted(paths) if path.endswith(suffix))

    def replaced(self, name, old, new):
        text = self[name]
        assert old in text, f'{name} does not have "{old}"'
        other = Sources(self.root, self.programs)
        other.texts = dict(self.texts, **{name: text.replace(old, new)})
        return other

    def page(self, name):
        return scd.Page(self[name])


def differ(what, in_program, in_page):
    """Both are sets; what is in only one of them is a problem."""
    return ([f'{what} {item} is not documented' for item in sorted(in_program - in_page)] +
            [f'{what} {item} is documented, but there is none' for item in sorted(in_page - in_program)])


# ------------------------------------------------------------------------------------------ the interface

def describe(member):
    """A member of an interface, written as the page does."""
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


def members(sources):
    problems = []
    page = sources.page(INTERFACE_PAGE)
    for interface in xml.etree.ElementTree.fromstring(sources[XML].encode()):
        whose = 'a listener' if interface.get('name').endswith('.Listener') else 'the manager'
        for tag, heading in ('method', 'Methods'), ('signal', 'Signals'), ('property', 'Properties'):
            found = {describe(member) for member in interface.iter(tag)}
            if found:
                documented = {scd.plain(term) for term in page.terms(f'## {heading} of {whose}')}
                problems += differ(f'{tag} of {whose}', found, documented)
    return problems


def rows(text):
    """Keys and types in a table of the interface description."""
    return {f'{key} ({type})' for key, type in
            re.findall(r'<row><entry><literal>(\w+)</literal></entry><entry>(\w+)</entry>', text)}


def between(text, first, last):
    """What is between two texts that have to be there."""
    assert first in text and last in text.partition(first)[2], f'there is no "{first}" with "{last}" after it'
    return text.partition(first)[2].partition(last)[0]


def option_keys(sources):
    return dict(re.findall(r'^ +\{ "(\w+)", +"(\w+)", +set_\w+ +\},$', sources['src/daemon/policy/options.c'], re.M))


def listen_options(sources):
    program = {f'{key} ({type})' for key, type in option_keys(sources).items()}
    described = rows(between(sources[XML], 'The options are the following', '</informaltable>'))
    documented = {scd.plain(term) for term in sources.page(INTERFACE_PAGE).terms('# OPTIONS OF LISTEN')}
    assert program
    return differ('option', program, documented) + differ('option, in the interface description,', program, described)


def camel(constant):
    return ''.join(word.capitalize() for word in constant.split('_'))


def errors(sources):
    program = set()
    text = ''.join(sources.glob('src/daemon', '.c').partition('log_control')[0::2])
    for name in re.findall(r'(?:return|sd_bus_error_setf\(error,|method_errorf\([^,]*,)\s*SD_BUS_ERROR_(\w+)', text):
        program.add('org.freedesktop.DBus.Error.' + camel(name))
    program |= set(re.findall(r'"(org\.example\.TCPServerSocket\.Error\.\w+)"', sources['src/base/names.h']))
    described = set(re.findall(r'org\.(?:freedesktop\.DBus|example\.TCPServerSocket)\.Error\.\w+', sources[XML]))
    page = sources.page(INTERFACE_PAGE)
    documented = {scd.plain(term) for term in page.terms('# ERRORS')}
    named = {name for line in re.findall(r'Errors: (.*?)(?:\n\n|\n[^\t]|\Z)', page.text, re.S)
             for name in re.findall(r'\b[A-Z][a-z]+[A-Z]\w+', re.sub(r'\*\w+\*', '', line))}
    problems = differ('error', program, documented)
    problems += [f'error {name} is only in the interface description' for name in sorted(described - program)]
    problems += [f'error {name} is not in the interface description' for name in sorted(program - described)
                 if name.startswith(SERVICE)]
    problems += [f'error {name}, of a method, is not among the errors' for name in sorted(named)
                 if not any(known.endswith('.' + name) for known in documented)]
    return problems


def reasons(sources):
    program = set(re.findall(r'\[LISTENER_END_\w+\] = "(\w+)"', sources['src/daemon/listener/listener.c']))
    documented = {scd.plain(term) for term in sources.page(INTERFACE_PAGE).terms('# REASONS')}
    return differ('reason', program, documented)


def details(sources):
    program = rows(between(sources[XML], 'The details are the following', '</informaltable>'))
    documented = {scd.plain(term) for term in sources.page(INTERFACE_PAGE).terms('# DETAILS OF A CONNECTION')}
    return differ('detail', program, documented)


def deliveries(sources):
    program = set(re.findall(r'\.name = "(\w+)"', sources.glob('src/daemon', '.c')))
    documented = {scd.plain(term) for term in sources.page(INTERFACE_PAGE).terms('# DELIVERIES')}
    return differ('delivery', program, documented)


# -------------------------------------------------------------------------------------- the configuration

def settings(sources):
    program = set(re.findall(r'^ +\{ "(\w+)", read_', sources['src/daemon/policy/settings.c'], re.M))
    page = sources.page(CONFIGURATION_PAGE)
    documented = {scd.plain(term).removesuffix('=') for term in page.terms('# SETTINGS')}
    shipped = set(re.findall(r'^#(\w+)=', sources['data/tcpserversocketd.conf'], re.M))
    problems = differ('setting', program, documented) + differ('setting, in tcpserversocketd.conf,', program, shipped)

    # Ranges and defaults: as the source has them.
    macros = dict(re.findall(r'^#define (\w+) (\d+)$', sources['src/daemon/policy/settings.c'], re.M))
    defaults = dict(re.findall(r'\.(\w+) = (\d+),', sources['src/daemon/policy/settings.c']))
    number = r'\{ "(\w+)", read_number, offsetof\(Settings, limits\.(\w+)\), (\w+),\s+(\w+) \}'
    for name, field, low, high in re.findall(number, sources['src/daemon/policy/settings.c']):
        low, high = macros.get(low, low), macros.get(high, high)
        text = ' '.join(page.part('# SETTINGS').partition(f'*{name}=*')[2].partition('\n*')[0].split())
        for value in f'{low} to {high}', f'{defaults[field]} by default':
            if value not in text:
                problems.append(f'setting {name}: the page does not say "{value}"')
        if f'\n#{name}={defaults[field]}\n' not in sources['data/tcpserversocketd.conf']:
            problems.append(f'setting {name}: tcpserversocketd.conf does not say {defaults[field]}')
    return problems


# ------------------------------------------------------------------------------------------- the programs

OPTION = r'(?:(-\w)\b)?(?:,? *(--[\w-]+)(\[=|=)?)?'


def help_options(text):
    return {f'{letter} {name}{value}'.strip() for letter, name, value in re.findall(r'^ {1,6}(?=-)' + OPTION, text, re.M)}


def help_verbs(text):
    return set(re.findall(r'^  ([a-z][\w-]+)(?: |$)', text, re.M))


def page_options(page, *headings):
    return {f'{letter} {name}{value}'.strip() for heading in headings for term in page.terms(heading)
            for letter, name, value in [re.match(OPTION, scd.plain(term)).groups('')]}


def daemon_options(sources):
    return differ('option', help_options(sources['tcpserversocketd --help']),
                  page_options(sources.page(DAEMON_PAGE), '# OPTIONS'))


def tool_options(sources):
    return differ('option', help_options(sources['tcpserversocketctl --help']),
                  page_options(sources.page(TOOL_PAGE), '## General options', '## Options of listen',
                               '## Options of listen and relay'))


def hyphens(key):
    return '--' + re.sub(r'(?<=[a-z0-9])([A-Z])', lambda m: '-' + m[1].lower(), key)


def tool_listen_options(sources):
    """Each option of Listen is one of the tool, with the same name."""
    program = {option.split()[-1].rstrip('[=') for option in help_options(sources['tcpserversocketctl --help'])}
    return [f'option {key} of Listen has no {hyphens(key)}' for key in option_keys(sources) if hyphens(key) not in program]


def tool_verbs(sources):
    program = help_verbs(sources['tcpserversocketctl --help'])
    documented = {scd.plain(term).split()[0] for term in sources.page(TOOL_PAGE).terms('# VERBS')}
    return differ('verb', program, documented)


def tool_environment(sources):
    text = sources.glob('src/ctl', '.c')
    program = set(re.findall(r'\bgetenv\("(\w+)"\)', text)) | set(re.findall(r'"((?:LISTEN|REMOTE)_[A-Z]+)"', text))
    page = sources.page(TOOL_PAGE)
    documented = {name for heading in ('# ENVIRONMENT', '## Environment of COMMAND') for term in page.terms(heading)
                  for name in scd.plain(term).split(', ')}
    return differ('environment variable', program - {'PATH'}, documented - set(BY_LIBRARIES))


# Read by libraries, not by the tool's own source.
BY_LIBRARIES = ['DBUS_SYSTEM_BUS_ADDRESS', 'DBUS_SESSION_BUS_ADDRESS', 'XDG_RUNTIME_DIR', 'LC_ALL', 'LC_MESSAGES', 'LANG']


def tool_json(sources):
    text = sources.glob('src/ctl', '.c')
    program = set(re.findall(r'\bjson_add\w*\(\w+, "(\w+)"', text)) | set(re.findall(r'\bFIELD\("\w+",\s+"(\w+)"', text))
    documented = set(re.findall(r'\*([a-z]\w*)\*', sources.page(TOOL_PAGE).part('# JSON')))
    return differ('key of JSON', program, documented - help_verbs(sources['tcpserversocketctl --help']))


def tool_exit_status(sources):
    text = sources['tcpserversocketctl --help'].partition('Exit status:')[2]
    program = set(re.findall(r'^  (\d+)\b', text, re.M))
    documented = {scd.plain(term) for term in sources.page(TOOL_PAGE).terms('# EXIT STATUS')}
    return [f'exit status {status} is not documented' for status in sorted(program - documented)]


# ------------------------------------------------------------------------------------- the logs, polkit

def messages(sources):
    program = set(re.findall(r'#define MESSAGE_\w+_STR "(\w+)"', sources['src/base/message-ids.h']))
    documented = {scd.plain(term).split()[0] for term in sources.page(DAEMON_PAGE).terms('# LOGGING')
                  if re.match(r'[0-9a-f]{32} ', term)}
    problems = differ('message', program, documented)
    catalogues = [name for name in os.listdir(os.path.join(sources.root, 'data')) if name.endswith('.catalog')]
    for name in sorted(catalogues):
        problems += differ(f'message, in {name},', program, set(re.findall(r'^-- (\w+)$', sources[f'data/{name}'], re.M)))
    return problems


def actions(sources):
    program = set(re.findall(r'<action id="([\w.-]+)">', sources[f'data/{SERVICE}.policy.in']))
    documented = {scd.plain(term) for term in sources.page(DAEMON_PAGE).terms('# AUTHORIZATION')
                  if term.startswith('*org.')}
    named = set(re.findall(r'#define ACTION_\w+ "([\w.-]+)"', sources['src/base/names.h']))
    return differ('action', program, documented) + differ('action, in names.h,', program, named)


def references(sources):
    """Each page leads to all others of the project, and names none that is not there."""
    pages = {(page.name, page.section) for page in map(sources.page, PAGES)}
    problems = []
    for page in map(sources.page, PAGES):
        found = scd.Page(f'{page.title[0]}\n{page.part("# SEE ALSO")}').references()
        problems += [f'{page.title[0]} does not lead to {name}({section})'
                     for name, section in sorted(pages - found - {(page.name, page.section)})]
        problems += [f'{page.title[0]} leads to {name}({section}), which is not there'
                     for name, section in sorted(page.references() - pages) if name.startswith(('tcpserversocket', SERVICE))]
    return problems


# ---------------------------------------------------------------------------- what is read in the sources

TEXTS = ['README.md', 'INSTALL.md', 'HACKING.md', 'NEWS.md', 'SECURITY.md', 'tests/README.md', 'tests/bench/README.md']


def build_options(sources):
    program = set(re.findall(r"^option\('(\w+)'", sources['meson_options.txt'], re.M))
    table = between(sources['INSTALL.md'], '| option | default | |\n|---|---|---|\n', '\n\n')
    documented = {name for names in re.findall(r'^\| (`.*?`) \|', table, re.M) for name in re.findall(r'`(\w+)`', names)}
    return differ('option of the build', program, documented)


def versions(sources):
    """Each package is of the version of the project."""
    version = re.search(r"^ +version : '([^']+)'", sources['meson.build'], re.M)[1]
    found = {
        'NEWS.md': re.search(r'^## ([\d.]+)', sources['NEWS.md'], re.M)[1],
        'data/arch/PKGBUILD': re.search(r'^pkgver=(.*)', sources['data/arch/PKGBUILD'], re.M)[1],
        'data/debian/changelog': re.search(r'\((.*?)\)', sources['data/debian/changelog'])[1],
        'data/rpm/tcpserversocket.spec': re.search(r'^Version: +(.*)', sources['data/rpm/tcpserversocket.spec'], re.M)[1],
    }
    return [f'{name} is of version {other}, meson.build is of {version}' for name, other in found.items()
            if other != version]


def anchors(text):
    """What the headings of a text are called in links."""
    text = re.sub(r'^```.*?^```$', '', text, flags=re.M | re.S)
    return {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in re.findall(r'^#+ (.*)$', text, re.M)}


def links(sources):
    """Those within the project lead to files and headings that are there."""
    problems = []
    for name in TEXTS:
        for target in re.findall(r'\]\(([^)\s]+)\)', sources[name]):
            path, _, anchor = target.partition('#')
            if ':' in path:
                continue
            path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if not os.path.exists(os.path.join(sources.root, path)):
                problems.append(f'{name} leads to {path}, which is not there')
            elif anchor and anchor not in anchors(sources[path]):
                problems.append(f'{name} leads to the heading {anchor} of {path}, which is not there')
    return problems


# ------------------------------------------------------------------------------------------- the tests

def test_sources(sources, name):
    """A test's source; one name may be that of tests in two directories."""
    return [path for path in (f'tests/{directory}test-{name}.c' for directory in ('', 'bus/', 'machine/', 'ctl/'))
            if os.path.exists(os.path.join(sources.root, path))]


def tests_of_threats(sources):
    """What SECURITY.md names as `NAME: CASE` is a case of tests/**/test-NAME.c."""
    problems = []
    for name, case in re.findall(r'`([a-z][a-z-]+):\s+([^`]+)`', sources['SECURITY.md']):
        text = '\n'.join(sources[path] for path in test_sources(sources, name))
        if not re.search(rf'"(/[^"/]+/)?{re.escape(" ".join(case.split()))}"', text):
            problems.append(f'test {name}: {" ".join(case.split())} is named in SECURITY.md, but there is none')
    return problems


CHECKS = [
    ('members of the interfaces', members),
    ('options of Listen', listen_options),
    ('errors', errors),
    ('reasons', reasons),
    ('details of a connection', details),
    ('deliveries', deliveries),
    ('settings', settings),
    ('options of tcpserversocketd', daemon_options),
    ('options of tcpserversocketctl', tool_options),
    ('options of tcpserversocketctl for those of Listen', tool_listen_options),
    ('verbs of tcpserversocketctl', tool_verbs),
    ('environment of tcpserversocketctl', tool_environment),
    ('keys in JSON of tcpserversocketctl', tool_json),
    ('exit status of tcpserversocketctl', tool_exit_status),
    ('messages of the log', messages),
    ("polkit's actions", actions),
    ('references between the pages', references),
    ('options of the build', build_options),
    ('version', versions),
    ('links between the texts', links),
    ('tests that SECURITY.md names', tests_of_threats),
]
