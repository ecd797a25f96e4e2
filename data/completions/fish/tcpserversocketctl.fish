# SPDX-License-Identifier: LGPL-2.1-or-later
#
# tcpserversocketctl(1) completion for fish

set -l verbs listen run relay list show close pause resume monitor status
set -l before "not __fish_seen_subcommand_from $verbs"

# Counts the arguments of the verb.
function __tcpserversocketctl_arguments
    set -l words (commandline -opc)
    set -l n -1
    for word in $words[2..-1]
        string match -q -- '-*' $word; or set n (math $n + 1)
    end
    echo $n
end

# The listeners on the bus that the options select, without those that the command line has already.
function __tcpserversocketctl_listeners
    set -l words (commandline -opc)
    set -l bus
    set -l next
    for word in $words[2..-1]
        if test -n "$next"
            set -a bus --machine=$word
            set next
        else
            switch $word
                case -M --machine
                    set next machine
                case --user '--machine=*'
                    set -a bus $word
                case '-M*'
                    set -a bus --machine=(string sub -s 3 -- $word)
            end
        end
    end
    env COLUMNS=80 tcpserversocketctl $bus --no-legend --no-pager --no-ask-password list 2>/dev/null | while read -l number rest
        contains -- $number $words; or printf '%s\t%s\n' $number (string trim -- "$rest")
    end
    # The names that only one of them has.
    tcpserversocketctl $bus --json=short --no-pager --no-ask-password list 2>/dev/null |
        string match -ar '"name":"[A-Za-z][A-Za-z0-9._@/+-]*"' | string replace -r '.*:"(.*)"' '$1' | sort | uniq -u |
        while read -l name
            contains -- $name $words; or printf '%s\tName\n' $name
        end
end

function __tcpserversocketctl_interfaces
    string replace -r '.*/' '' /sys/class/net/*
end

function __tcpserversocketctl_ports
    string replace -rf '^([a-z][^\s]*)\s+([0-9]+)/tcp.*' '$1\t$2' </etc/services
end

function __tcpserversocketctl_machines
    machinectl list --full --no-legend --no-pager 2>/dev/null | string replace -r ' .*' ''
end

# The number of the word where the command of "run" begins, or of the first one after "--".
function __tcpserversocketctl_find_command
    set -l words (commandline -opc)
    set -l i (contains -i -- -- $words); and math $i + 1; and return
    set -l after (contains -i -- run $words); or return
    for i in (seq (math $after + 1) (count $words))
        string match -q -- '-*' $words[$i]; or echo $i; and return
    end
    return 1
end

# Whether the cursor is in a command of its own.
function __tcpserversocketctl_in_command
    test -n "$(__tcpserversocketctl_find_command)"
end

function __tcpserversocketctl_command
    set -l words (commandline -opc)
    set -l i (__tcpserversocketctl_find_command)
    set -l command (string escape -- $words[$i..-1]) (commandline -ct)
    complete -C "$command"
end

complete -c tcpserversocketctl -f

complete -c tcpserversocketctl -n $before -a listen -d 'Run a server with ports from the service'
complete -c tcpserversocketctl -n $before -a run -d 'Run an unmodified server that binds privileged ports'
complete -c tcpserversocketctl -n $before -a relay -d 'Forward connections'
complete -c tcpserversocketctl -n $before -a list -d 'List listeners'
complete -c tcpserversocketctl -n $before -a show -d 'Show the properties of listeners'
complete -c tcpserversocketctl -n $before -a close -d 'Close listeners'
complete -c tcpserversocketctl -n $before -a pause -d 'Stop accepting'
complete -c tcpserversocketctl -n $before -a resume -d 'Resume accepting'
complete -c tcpserversocketctl -n $before -a monitor -d 'Show connections and errors as they happen'
complete -c tcpserversocketctl -n $before -a status -d 'Show the service with its limits and counters'

complete -c tcpserversocketctl -n '__fish_seen_subcommand_from show close pause resume monitor' \
    -ka '(__tcpserversocketctl_listeners)'
complete -c tcpserversocketctl -n '__fish_seen_subcommand_from listen; and not __tcpserversocketctl_in_command' \
    -xa '(__tcpserversocketctl_ports)'
complete -c tcpserversocketctl -n '__fish_seen_subcommand_from relay; and test (__tcpserversocketctl_arguments) -lt 1' \
    -xa '(__tcpserversocketctl_ports)'
complete -c tcpserversocketctl -n '__fish_seen_subcommand_from relay; and test (__tcpserversocketctl_arguments) -ge 1' -F
complete -c tcpserversocketctl -n '__fish_seen_subcommand_from listen run; and __tcpserversocketctl_in_command' \
    -xa '(__tcpserversocketctl_command)'

complete -c tcpserversocketctl -n '__fish_seen_subcommand_from run; and not __tcpserversocketctl_in_command' \
    -xa '(__fish_complete_command)'

set -l here 'not __tcpserversocketctl_in_command'
complete -c tcpserversocketctl -n $here -s h -l help -d 'Show this help'
complete -c tcpserversocketctl -n $here -l version -d 'Show the version'
complete -c tcpserversocketctl -n $here -l system -d 'Talk to the service of the system bus'
complete -c tcpserversocketctl -n $here -l user -d 'Talk to the service of the session bus'
complete -c tcpserversocketctl -n $here -s M -l machine -xa '(__tcpserversocketctl_machines)' -d 'Talk to the service in a container'
complete -c tcpserversocketctl -n $here -l json -xa 'pretty short off' -d 'Generate JSON output'
complete -c tcpserversocketctl -n $here -s j -d 'Generate JSON output'
complete -c tcpserversocketctl -n $here -l no-pager -d 'Do not pipe output into a pager'
complete -c tcpserversocketctl -n $here -l no-legend -d 'Do not show headers and footers'
complete -c tcpserversocketctl -n $here -s l -l full -d 'Do not ellipsize output'
complete -c tcpserversocketctl -n $here -s q -l quiet -d 'Print only errors and requested output'
complete -c tcpserversocketctl -n $here -l no-ask-password -d 'Do not ask for passwords'
complete -c tcpserversocketctl -n $here -l accept -d 'Run COMMAND once for each connection'
complete -c tcpserversocketctl -n $here -l inetd -d 'The same, with the connection as standard input and output'
complete -c tcpserversocketctl -n $here -l wait -d 'With --inetd: run one COMMAND at a time, which accepts connections'
complete -c tcpserversocketctl -n $here -l fd-name -x -d 'Names of the descriptors'
complete -c tcpserversocketctl -n $here -l max-connections -x -d 'Limit of concurrent connections (default: 64; relay: 512)'
complete -c tcpserversocketctl -n $here -l max-connections-per-source -x -d 'The same for each peer address'
complete -c tcpserversocketctl -n $here -l kill-mode -xa 'group process' -d 'Which processes of COMMAND end with the tool'
complete -c tcpserversocketctl -n $here -l kill-after -x -d 'Kill processes that have not ended in this time'
complete -c tcpserversocketctl -n $here -l restart -d 'Start COMMAND again when it ends'
complete -c tcpserversocketctl -n $here -l start-on-demand -d 'Start COMMAND with the first connection'
complete -c tcpserversocketctl -n $here -l setenv -xa '(set -nx)' -d 'Set a variable for COMMAND'
complete -c tcpserversocketctl -n $here -l proxy-protocol -xa 'v1 v2' -d 'Tell the target the addresses of each connection'
complete -c tcpserversocketctl -n $here -l exit-idle-time -x -d 'End after this time without a connection'
complete -c tcpserversocketctl -n $here -l port -x -d 'Also get these ports from the service'
complete -c tcpserversocketctl -n $here -s v -l verbose -d 'Also print the start and end of each connection'
complete -c tcpserversocketctl -n $here -l backlog -x -d 'Limit of connections that wait in the kernel'
complete -c tcpserversocketctl -n $here -l binary-type -xa 'string arraybuffer' -d 'Type that language bindings use for bytes'
complete -c tcpserversocketctl -n $here -l local-address -x -d 'Address to bind'
complete -c tcpserversocketctl -n $here -l interface -xa '(__tcpserversocketctl_interfaces)' -d 'Accept only connections from this network interface'
complete -c tcpserversocketctl -n $here -l delivery -xa 'channel socket' -d 'How the service passes connections on'
complete -c tcpserversocketctl -n $here -l defer-accept -x -d 'Wait this long for the first bytes of a peer'
complete -c tcpserversocketctl -n $here -l fast-open -x -d 'Length of the queue of TCP Fast Open'
complete -c tcpserversocketctl -n $here -l allow-from -x -d 'Refuse other peers'
complete -c tcpserversocketctl -n $here -l accept-rate -x -d 'Accept at most this many connections per second'
complete -c tcpserversocketctl -n $here -l name -x -d 'Label for listings and logs'

complete -c tcpserversocketctl -n $here -l ipv6-only -a 'yes no' -d 'Accept IPv6 connections only'
complete -c tcpserversocketctl -n $here -l free-bind -a 'yes no' -d 'Allow an address that the host does not have yet'
complete -c tcpserversocketctl -n $here -l paused -a 'yes no' -d 'With --persistent: accept nothing before "resume"'
complete -c tcpserversocketctl -n $here -l persistent -a 'yes no' -d 'Keep the listener when the tool ends'
complete -c tcpserversocketctl -n $here -l non-blocking -a 'yes no' -d 'Set O_NONBLOCK on connections'
complete -c tcpserversocketctl -n $here -l no-delay -a 'yes no' -d 'Set TCP_NODELAY on connections'
complete -c tcpserversocketctl -n $here -l keep-alive -a 'yes no' -d 'Set SO_KEEPALIVE on connections'
