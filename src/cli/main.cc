// The program: one line a verb. Each verb lives in its own verb_NAME.cc.
#include "cli/args.h"
#include "cli/verbs.h"
#include "comm/ranks.h"

namespace {

// A verb that a launcher may start as several ranks.
template <auto declare>
std::function<int()> over_ranks(dure::Args& args) {
  return [run = declare(args)] { return dure::as_ranks(run); };
}

}  // namespace

int main(int argc, char** argv) {
  return dure::run_command_line(
      argc, argv,
      {
          {"bench", "how fast a model reads and writes; a synthetic model to measure on",
           over_ranks<dure::declare_bench>},
          {"chat", "talk with a model on the terminal", dure::declare_chat},
          {"convert", "a model from a Hugging Face folder to GGUF, or back", dure::declare_convert},
          {"data", "prepare corpora; look into them", dure::declare_data},
          {"doctor", "what this machine has; what is missing and how to get it",
           dure::declare_doctor},
          {"eval", "measure models; report as JSON, Markdown and HTML",
           over_ranks<dure::declare_eval>},
          {"generate", "continue a text, or answer one", over_ranks<dure::declare_generate>},
          {"imatrix", "which columns of each matrix matter on a text, for quantize",
           dure::declare_imatrix},
          {"inspect", "what a model is, from its headers: architecture, parameters, bytes, tensors",
           dure::declare_inspect},
          {"plan", "what a run will need before it starts, and what fits this machine",
           dure::declare_plan},
          {"prefer", "learning from preferences: DPO and relatives, SimPER, GROUPER",
           over_ranks<dure::declare_prefer>},
          {"quantize", "a model's matrices in fewer bits, as a GGUF file", dure::declare_quantize},
          {"render", "the prompt text of a conversation", dure::declare_render},
          {"rl", "reinforcement learning with verifiable rewards (AGAPO, GRPO and relatives)",
           over_ranks<dure::declare_rl>},
          {"runs", "training, RL and evaluation runs of this machine", dure::declare_runs},
          {"score", "likelihood, logits and gradients of given ids or text", dure::declare_score},
          {"serve",
           "an HTTP server that OpenAI's and Anthropic's clients work with, and a page to chat",
           over_ranks<dure::declare_serve>},
          {"tokenizer", "train a tokenizer; text to ids and back", dure::declare_tokenizer},
          {"train", "pretraining and supervised fine-tuning", over_ranks<dure::declare_train>},
      });
}
