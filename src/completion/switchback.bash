# Completion of switchback for bash: source it, or put it into /etc/bash_completion.d.
_switchback() {
    local candidate
    COMPREPLY=()
    while IFS= read -r candidate; do
        if [ "$candidate" = ":files" ]; then
            compopt -o default +o nospace 2>/dev/null
            return
        fi
        COMPREPLY+=("$candidate")
    done < <("${COMP_WORDS[0]/#\~/$HOME}" complete bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
# Before 4.4 bash sorts by itself.
complete -o nospace -o nosort -F _switchback switchback 2>/dev/null || complete -o nospace -F _switchback switchback
