# bash completion of baton. Needs nothing of the bash-completion package.

# The elections of the namespace in use, as far as they can be had at once.
_baton_elections() {
    "${COMP_WORDS[0]}" status --engine-timeout 1s --json 2>/dev/null | sed -n 's/^{"name":"\([^"]*\)".*/\1/p'
}

_baton_tasks() {
    "${COMP_WORDS[0]}" once list --engine-timeout 1s --json 2>/dev/null | sed -n 's/^{"task":"\([^"]*\)".*/\1/p'
}

_baton_locks() {
    "${COMP_WORDS[0]}" status --engine-timeout 1s --json 2>/dev/null | sed -n 's/^{"lock":"\([^"]*\)".*/\1/p'
}

_baton() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local commands='run elect lock once gate fence status watch history transfer hold release version help'
    local stand='--url --id --address --priority --preempt --ttl --grace --json --help'
    COMPREPLY=()

    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$current")
        return
    fi

    local command=${COMP_WORDS[1]} word place=0
    # After "--" it is the command's own line.
    for ((place = 2; place < COMP_CWORD; place++)); do
        word=${COMP_WORDS[place]}
        if [[ $word == -- ]]; then
            if declare -F _command_offset >/dev/null; then
                _command_offset $((place + 1))
            else
                mapfile -t COMPREPLY < <(compgen -c -- "$current")
            fi
            return
        fi
    done

    case $previous in
    --restart)
        mapfile -t COMPREPLY < <(compgen -W 'never on-failure always' -- "$current")
        return
        ;;
    --fence)
        mapfile -t COMPREPLY < <(compgen -W 'pg' -- "$current")
        return
        ;;
    --url)
        mapfile -t COMPREPLY < <(compgen -W 'local:' -- "$current")
        return
        ;;
    --health | --follow | --on-lead | --on-follow | --command | -c)
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
        return
        ;;
    --to)
        if [[ $command == gate ]]; then
            mapfile -t COMPREPLY < <(compgen -W 'leader followers' -- "$current")
        fi
        return
        ;;
    --listen | -l | --hold | --connect-timeout | --blind | --idle-timeout | --max-connections) return ;;
    --wait | -w | --timeout | --conflict-exit-code | -E | --slots | --retries | --retry-after | --expire) return ;;
    --id | --address | --priority | --ttl | --grace | --slack | --watchdog | --health-every | --start-period | --engine-timeout | --why)
        return
        ;;
    esac

    local options
    case $command in
    run) options="$stand --restart --fence --follow --watchdog --health --health-every --start-period --slack"
        options+=' --allow-privileges' ;;
    elect) options="$stand --on-lead --on-follow" ;;
    lock) options='--url --id --ttl --nonblock --nb --nonblocking --wait --timeout --conflict-exit-code --exclusive'
        options+=' --shared --slots --command --grace --slack --allow-privileges --describe --verbose --close'
        options+=' --no-fork --engine-timeout --json --version --help' ;;
    once) options='--url --id --ttl --no-wait --wait --conflict-exit-code --at-least-once --retries --retry-after'
        options+=' --expire --output --any-command --grace --slack --allow-privileges --force --expired'
        options+=' --engine-timeout --json --help' ;;
    gate) options='--url --listen --to --hold --connect-timeout --blind --idle-timeout --max-connections --json'
        options+=' --help' ;;
    fence) options='--engine-timeout --json --help' ;;
    status | history) options='--url --engine-timeout --json --help' ;;
    watch) options='--url --json --help' ;;
    transfer) options='--url --to --engine-timeout --help' ;;
    hold) options='--url --why --engine-timeout --help' ;;
    release) options='--url --engine-timeout --help' ;;
    version) options='--help' ;;
    help)
        mapfile -t COMPREPLY < <(compgen -W "$commands --help" -- "$current")
        return
        ;;
    *) return ;;
    esac
    if [[ $current == -* || $command == version ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    elif [[ $command == lock ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_baton_locks)" -- "$current")
    elif [[ $command == fence ]]; then
        mapfile -t COMPREPLY < <(compgen -W 'install guard unguard status test reset remove' -- "$current")
    elif [[ $command == once ]]; then
        local IFS=$'\n'
        mapfile -t COMPREPLY < <(compgen -W "$(printf '%s\n' list show forget; _baton_tasks)" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$(_baton_elections)" -- "$current")
    fi
}

complete -F _baton baton
