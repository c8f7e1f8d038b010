// text/tokenizer_ids.h: the number that an added token gets while a tokenizer's files are read.
//
// Owns the `tokenizers` library's rule: new tokens are numbered one after another, whatever the
// file says, and what it says otherwise is warned about. Not here: finding added tokens in a text
// (added_tokens.h), the files themselves (tokenizer_json.cc, tokenizer_config.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace dure {

// Adds `token` under the library's id, which it gets; a token known already takes the new flags.
// Throws kCorrupt where model.vocab has that id already.
void add_added(TokenizerParts& parts, AddedToken& token, std::string_view where);

// Ids in a file that are not those the library gives; said once a file.
class OtherIds {
 public:
  void note(const AddedToken& token, int64_t written);
  void warn(std::string_view source, std::string_view field) const;

 private:
  std::string first_;
  int64_t count_ = 0;
};

}  // namespace dure
