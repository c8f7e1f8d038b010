# small: about an hour on two cores. The same corpus, problems and questions as nano, so that the two can be compared.
data=recipes/nano/data.yaml suite=recipes/nano/eval.yaml
vocabulary=2048 problems=24
brief=(pretrain.steps=20 sft.steps=20 rl.steps=8 problems=1)
