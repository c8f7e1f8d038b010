// data/sft.h: conversations as token documents in which only what the assistant says is to be
// learnt.
//
// Pieces are encoded one by one, as they meet at inference: the prompt is encoded there without the
// answer, so no token may span the border. Not here: the chat format (text/chat.h), rows and
// batches (packing.h).
#pragma once

#include <memory>
#include <vector>

#include "base/file.h"
#include "data/tasks/mixture.h"
#include "data/token_document.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace dure {

// Ends with the last trained token.
TokenDocument encode_pieces(const std::vector<ChatPiece>& pieces, const Tokenizer& tokenizer);

// Every assistant turn of every conversation of a chat JSONL ({"messages": [...]}), in the prompt
// it would really have had. Throws kCorrupt or kInvalidArgument naming the record.
std::shared_ptr<const DocumentSource> load_conversations(const Path& jsonl,
                                                         const Tokenizer& tokenizer);

// Problem i of the train split, with its worked solution as the reasoning. Document i depends on
// (mixture, seed, i) alone. limit 0: without end.
std::shared_ptr<const DocumentSource> problem_conversations(const TaskMixture& mixture,
                                                            uint64_t seed, int64_t limit,
                                                            const Tokenizer& tokenizer);

// Problems of the held-out split, `count_per_cell` for every task and language: never trained on by
// any run.
std::shared_ptr<const DocumentSource> heldout_problem_conversations(const TaskMixture& mixture,
                                                                    uint64_t seed,
                                                                    int64_t count_per_cell,
                                                                    const Tokenizer& tokenizer);

}  // namespace dure
