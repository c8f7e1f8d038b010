// engine/known_tokens.h: refuses token ids that the model's embedding has no row for.
//
// Asked before a forward by whoever takes ids from outside (generator.h, scorer.h): a tokenizer of
// another model may give more ids than the embedding has rows. Not here: the warning about such a
// tokenizer (data/model_texts.h).
#pragma once

#include <span>

#include "base/error.h"

namespace dure {

// `what`: "token", "prompt token".
inline void require_known_tokens(std::span<const int32_t> ids, int64_t vocab_size,
                                 std::string_view what) {
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size)
      fail(ErrorCode::kInvalidArgument, "{} {} is outside the vocabulary of {}", what, id,
           vocab_size);
  }
}

}  // namespace dure
