# Completion of switchback for fish: put it as switchback.fish into ~/.config/fish/completions.
function __switchback_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct | string replace -r '^[\'"]' '')
    set -l found ($words[1] complete fish -- "$current" $words[2..-1] 2>/dev/null)
    if test "$found[1]" = ':files'
        __fish_complete_path "$current"
    else
        string join \n -- $found
    end
end
complete -c switchback -f -k -a '(__switchback_complete)'
