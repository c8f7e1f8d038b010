# nano: 8 to 17 minutes on two cores; --brief two to four.
data=recipes/nano/data.yaml suite=recipes/nano/eval.yaml
vocabulary=2048 problems=24
brief=(pretrain.steps=90 sft.steps=70 rl.steps=8 problems=4)
