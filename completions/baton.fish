# fish completion of baton.

function __baton_elections
    baton status --engine-timeout 1s --json 2>/dev/null | string replace -rf '^\{"name":"([^"]*)".*' '$1'
end

function __baton_locks
    baton status --engine-timeout 1s --json 2>/dev/null | string replace -rf '^\{"lock":"([^"]*)".*' '$1'
end

function __baton_tasks
    baton once list --engine-timeout 1s --json 2>/dev/null | string replace -rf '^\{"task":"([^"]*)".*' '$1'
end

# True while the words so far name one of these commands, and no "--" has ended baton's own part of the line.
function __baton_in
    set -l words (commandline -opc)
    set -q words[2]; and contains -- $words[2] $argv; and not contains -- -- $words
end

complete -c baton -f
set -l commands run elect lock once gate fence status watch history transfer hold release version help
set -l alone "not __fish_seen_subcommand_from $commands"

complete -c baton -n $alone -l version -d 'print the version'
complete -c baton -n $alone -s h -l help -d 'list the commands'
complete -c baton -n $alone -a run -d 'run a command only while this instance leads'
complete -c baton -n $alone -a elect -d 'hold a candidacy, print each change, run hooks'
complete -c baton -n $alone -a lock -d 'run a command while this instance holds a lock'
complete -c baton -n $alone -a once -d 'run a command once, by one of those who want it'
complete -c baton -n $alone -a gate -d 'relay connections to the leader'
complete -c baton -n $alone -a fence -d 'let a database refuse a leader whose term is over'
complete -c baton -n $alone -a status -d 'show who leads and who stands'
complete -c baton -n $alone -a watch -d 'print a line for each change'
complete -c baton -n $alone -a history -d 'list the last terms of an election'
complete -c baton -n $alone -a transfer -d 'ask the leader to hand over'
complete -c baton -n $alone -a hold -d 'let nobody lead while you maintain something'
complete -c baton -n $alone -a release -d 'end a hold'
complete -c baton -n $alone -a version -d 'print the version'
complete -c baton -n $alone -a help -d 'tell about a command'

complete -c baton -n "__baton_in $commands" -s h -l help -d 'print a short help'
complete -c baton -n '__baton_in help' -a "$commands"

set -l named run elect gate status watch history transfer hold release
complete -c baton -n "__baton_in $named" -a '(__baton_elections)' -d election
complete -c baton -n '__baton_in lock' -a '(__baton_locks)' -d lock
complete -c baton -n '__baton_in once' -a 'list show forget (__baton_tasks)' -d task
complete -c baton -n '__baton_in fence' -a 'install guard unguard status test reset remove' -d verb
complete -c baton -n "__baton_in $named lock once" -l url -x -a local: -d 'the engine and namespace'
complete -c baton -n '__baton_in run elect lock once gate fence status watch history' -l json -d 'print JSON, one object a line'
complete -c baton -n '__baton_in lock once fence status history transfer hold release' -l engine-timeout -x -d 'how long to wait'

complete -c baton -n '__baton_in run elect lock once' -l id -x -d 'the id of this instance'
complete -c baton -n '__baton_in run elect' -l address -x -d 'where others reach this instance'
complete -c baton -n '__baton_in run elect' -l priority -x -d 'at a vacancy the highest goes first'
complete -c baton -n '__baton_in run elect' -l preempt -d 'ask a leader of lower priority to hand over'
complete -c baton -n '__baton_in run elect lock once' -l ttl -x -d 'after how long a lost instance loses its place'
complete -c baton -n '__baton_in run elect lock once' -l grace -x -d 'how long a stop may take'
complete -c baton -n '__baton_in run lock once' -l slack -x -d 'how long the kernel may take to end it'
complete -c baton -n '__baton_in run lock once' -l allow-privileges -d 'the command may become another user'

complete -c baton -n '__baton_in run' -l restart -x -a 'never on-failure always' -d 'when the command ends by itself'
complete -c baton -n '__baton_in run' -l fence -x -a pg -d 'give the term to its connections'
complete -c baton -n '__baton_in run' -l follow -r -d 'run this while the instance does not lead'
complete -c baton -n '__baton_in run' -l watchdog -x -d 'the command must say WATCHDOG=1 this often'
complete -c baton -n '__baton_in run' -l health -r -d 'ask this command whether the leader is well'
complete -c baton -n '__baton_in run' -l health-every -x -d 'how often to ask'
complete -c baton -n '__baton_in run' -l start-period -x -d 'until when neither counts'

complete -c baton -n '__baton_in elect' -l on-lead -r -d 'run when this instance begins to lead'
complete -c baton -n '__baton_in elect' -l on-follow -r -d 'run when it leads no more'

complete -c baton -n '__baton_in transfer' -l to -x -d 'hand over to this candidate'
complete -c baton -n '__baton_in hold' -l why -x -d 'the reason'

complete -c baton -n '__baton_in lock' -s n -l nonblock -d 'fail when it cannot be had at once'
complete -c baton -n '__baton_in lock' -l nb -d 'fail when it cannot be had at once'
complete -c baton -n '__baton_in lock' -l nonblocking -d 'fail when it cannot be had at once'
complete -c baton -n '__baton_in lock' -s w -l wait -x -d 'fail when it cannot be had in time'
complete -c baton -n '__baton_in lock' -l timeout -x -d 'fail when it cannot be had in time'
complete -c baton -n '__baton_in lock' -s E -l conflict-exit-code -x -d 'the exit code then'
complete -c baton -n '__baton_in lock' -s x -l exclusive -d 'one holder'
complete -c baton -n '__baton_in lock' -s e -d 'one holder'
complete -c baton -n '__baton_in lock' -s s -l shared -d 'with other shared holders'
complete -c baton -n '__baton_in lock' -l slots -x -d 'up to so many holders'
complete -c baton -n '__baton_in lock' -s c -l command -r -d 'a line for the shell'
complete -c baton -n '__baton_in lock' -l verbose -d 'tell how long it took'
complete -c baton -n '__baton_in lock' -s o -l close -d 'for flock(1); always so'
complete -c baton -n '__baton_in lock' -s F -l no-fork -d 'for flock(1); of no effect'
complete -c baton -n '__baton_in lock' -s V -l version -d 'print the version'
complete -c baton -n '__baton_in lock' -l describe -d 'show who holds it and who waits'

complete -c baton -n '__baton_in once' -s n -l no-wait -d 'fail when others are running it'
complete -c baton -n '__baton_in once' -s w -l wait -x -d 'fail when others have not ended it in time'
complete -c baton -n '__baton_in once' -s E -l conflict-exit-code -x -d 'the exit code then'
complete -c baton -n '__baton_in once' -l at-least-once -d 'run it again when its instance is lost'
complete -c baton -n '__baton_in once' -l retries -x -d 'run it again after a failure'
complete -c baton -n '__baton_in once' -l retry-after -x -d 'not sooner after the failure'
complete -c baton -n '__baton_in once' -l expire -x -d 'forget how it ended after this time (400d, never)'
complete -c baton -n '__baton_in once' -s o -l output -d 'keep what it prints'
complete -c baton -n '__baton_in once' -l any-command -d 'do not mind another command'
complete -c baton -n '__baton_in once' -l force -d 'forget also what is being run'
complete -c baton -n '__baton_in once' -l expired -d 'forget all that has expired'

complete -c baton -n '__baton_in gate' -s l -l listen -x -d 'where clients connect'
complete -c baton -n '__baton_in gate' -l to -x -a 'leader followers' -d 'whom to connect to'
complete -c baton -n '__baton_in gate' -l hold -x -d 'how long a connection waits for somebody'
complete -c baton -n '__baton_in gate' -l connect-timeout -x -d 'how long an attempt to connect may take'
complete -c baton -n '__baton_in gate' -l blind -x -d 'how long to go on without the engine'
complete -c baton -n '__baton_in gate' -l idle-timeout -x -d 'cut what is idle for so long'
complete -c baton -n '__baton_in gate' -l max-connections -x -d 'more wait to be accepted'
