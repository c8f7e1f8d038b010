// chat/chat_texts.h: what it takes to talk with a model, beside its weights: tokenizer, chat
// template, stop rule; and the sampling defaults, for those who sample by them.
//
// For those who bring weights of their own (RL talks with its learner's); open_model.h has both.
// Not here: reading tokenizers and templates out of folders and GGUF keys (data/model_texts.h), the
// rule itself (data/stop_rule.h), what is said with it (conversation.h, answer_stream.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "data/stop_rule.h"
#include "engine/sampler.h"
#include "formats/model_files.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace dure {

struct ChatTexts {
  std::string source;                           // The model's path: names it in errors.
  std::optional<Tokenizer> tokenizer;           // Absent where the model brings none.
  ChatTemplate chat_template = ChatTemplate();  // The typed format where the model brings none.
  StopRule stops;

  const Tokenizer& require_tokenizer() const;  // Throws kNotFound saying what to do.
  // Throws kInvalidArgument where no token ends an answer: each would run to its limit.
  const std::vector<int32_t>& require_stop_tokens() const;
};

ChatTexts load_chat_texts(const ModelFiles& files);

// What generation_config.json (or a GGUF file's general.sampling keys) says: null is unset,
// `do_sample: false` is greedy; the family's own settings where it is silent. Warns of a setting
// that would change the answers and is not known here. Throws kInvalidArgument naming the file and
// the field.
SamplingOptions load_sampling(const ModelFiles& files);

}  // namespace dure
