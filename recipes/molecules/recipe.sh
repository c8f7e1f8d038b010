# molecules: traces, items and how they are measured (recipes/environment.sh reads this). What traces chose from is nothing new.
text='--targets 1500' text_brief='--targets 60 --pool 400'
chat='--targets 4000' chat_brief='--targets 80 --pool 400'
items=300 heldout=40
[ -e "$out/known.smi" ] || { "$program" traces --form smiles > "$out/known.tmp" && mv "$out/known.tmp" "$out/known.smi"; }
command="[$program, --known, $out/known.smi]"
environment="{command: $command, max_turns: 4, max_tokens: 560}"
baselines='--targets 40 --proposals [4,16,64,256]'
baselines_brief='--targets 4 --proposals [4]'
