// data/tokenise.h: a JSONL file of documents as a shard of token ids, made once and kept.
//
// The shard's name carries hashes of the file and of the tokenizer: another file or another
// tokenizer makes another shard. A document ends with the tokenizer's end token, where it has one:
// what a base model continues to after a text. Not here: the shard's bytes (shard.h), conversations
// (sft.h).
#pragma once

#include <memory>

#include "base/file.h"
#include "data/shard.h"
#include "text/tokenizer.h"

namespace dure {

// A document's tokens, its end token last where the tokenizer has one. Adds to `ids`; special
// tokens spelt out in the text are text.
void encode_document(const std::string& text, const Tokenizer& tokenizer, EncodeScratch& scratch,
                     std::vector<int32_t>& ids);

// Documents of `jsonl` in order. Encodes on all cores, with progress, where `cache_folder` does not
// hold the shard yet.
std::shared_ptr<const Shard> tokenise_corpus(const Path& jsonl, const Tokenizer& tokenizer,
                                             const Path& cache_folder);

}  // namespace dure
