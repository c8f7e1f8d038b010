// text/detokenizer.h: ids to text as they come, never a broken character on the way.
//
// push() hands out what is sure: bytes that could still become a character with the next token
// wait. The pieces, put together, are exactly Tokenizer::decode of all ids, wherever the ids are
// cut.
#pragma once

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace dure {

class Detokenizer {
 public:
  explicit Detokenizer(Tokenizer tokenizer, DecodeOptions options = {})
      : tokenizer_(std::move(tokenizer)), options_(options) {}

  std::string push(int32_t id);  // May be empty. Valid UTF-8.
  std::string
  flush();  // What waits, as U+FFFD; empty where nothing does. Ready for another text after it.
  bool waiting() const { return !pending_.empty(); }

 private:
  Tokenizer tokenizer_;
  DecodeOptions options_;
  std::string pending_;  // At most three bytes between calls.
};

}  // namespace dure
