# plant: traces, items and how they are measured (recipes/environment.sh reads this).
text='--units 150 --per-unit 8' text_brief='--units 12 --per-unit 4'
chat='--units 400 --per-unit 8' chat_brief='--units 12 --per-unit 8'
items=200 heldout=40
command="[$program]"
environment="{command: [$program], max_turns: 6, max_tokens: 760}"
baselines='--units 40 --experiments [6,12,24]'
baselines_brief='--units 4 --experiments [6]'
