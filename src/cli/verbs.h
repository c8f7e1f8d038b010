// cli/verbs.h: the declaration of every verb; each is defined in its own verb_NAME.cc and listed in
// main.cc.
#pragma once

#include <functional>

namespace dure {

class Args;

// Declares options on `args` and returns what to run (empty where only sub-verbs run).
std::function<int()> declare_bench(Args& args);
std::function<int()> declare_chat(Args& args);
std::function<int()> declare_convert(Args& args);
std::function<int()> declare_data(Args& args);
std::function<int()> declare_doctor(Args& args);
std::function<int()> declare_eval(Args& args);
std::function<int()> declare_generate(Args& args);
std::function<int()> declare_imatrix(Args& args);
std::function<int()> declare_inspect(Args& args);
std::function<int()> declare_plan(Args& args);
std::function<int()> declare_prefer(Args& args);
std::function<int()> declare_quantize(Args& args);
std::function<int()> declare_render(Args& args);
std::function<int()> declare_rl(Args& args);
std::function<int()> declare_runs(Args& args);
std::function<int()> declare_score(Args& args);
std::function<int()> declare_serve(Args& args);
std::function<int()> declare_tokenizer(Args& args);
std::function<int()> declare_train(Args& args);

}  // namespace dure
