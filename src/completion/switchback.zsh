#compdef switchback
# Completion of switchback for zsh: source it after compinit, or put it as _switchback into a directory of $fpath.
_switchback() {
    local current=${(Q)PREFIX#[\'\"]} line
    local -a done_words done_help open_words open_help part
    for line in "${(@f)$("${words[1]/#\~/$HOME}" complete zsh "$current" "${(@Q)words[2,CURRENT-1]}" 2>/dev/null)}"; do
        [[ $line == ':files' ]] && { _files; return; }
        [[ -z $line ]] && continue
        part=("${(@s:	:)line}")
        if [[ ${part[1]} == more ]]; then
            open_words+=("${part[2]}") open_help+=("${part[2]}${part[3]:+  -- ${part[3]}}")
        else
            done_words+=("${part[2]}") done_help+=("${part[2]}${part[3]:+  -- ${part[3]}}")
        fi
    done
    local code=1
    (( $#open_words )) && compadd -l -V switchback-open -S '' -d open_help -a open_words && code=0
    (( $#done_words )) && compadd -l -V switchback-done -d done_help -a done_words && code=0
    return code
}
if [[ ${funcstack[1]} == _switchback ]]; then
    _switchback "$@"
else
    compdef _switchback switchback
fi
