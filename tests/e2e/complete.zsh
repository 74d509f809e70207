# What zsh offers after a line: sourced as .zshrc by an interactive zsh on a terminal of its own (see test_cli.py).
# Ctrl-T asks for the completions and writes them to $HITS, one a line; then the terminal shows "DONE".
PS1= PROMPT_EOL_MARK=
unsetopt zle_bracketed_paste 2>/dev/null
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit
compinit -u -D

# The shell's own functions give everything that they find to compadd. With -O, -A or -D they only ask what fits.
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
        builtin compadd "$@"
        return
    fi
    local -a hits
    builtin compadd -O hits "$@"
    (( $#hits )) && print -rl -- $hits >>$HITS
    builtin compadd "$@"
}
list-all() {
    _main_complete
    compstate[insert]=
    compstate[list]=
    print DONE
}
zle -C list-all complete-word list-all
bindkey '^T' list-all
print READY
