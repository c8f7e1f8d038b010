// data/sft.h: conversations as token documents in which only what the assistant says is to be
// learnt.
//
// Pieces are encoded one by one, as they meet at inference: the prompt is encoded there without the
// answer, so no token may span the border. Not here: the chat format (text/chat.h), rows and
// batches (packing.h).
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "base/file.h"
#include "base/options.h"
#include "data/stop_rule.h"
#include "data/tasks/mixture.h"
#include "data/token_document.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace dure {

// What an answer without reasoning is trained to follow: the prompt of thinking off (as it reads),
// the open one of thinking on, which it learns to close at once, or each.
enum class WithoutReasoning : uint8_t { kOff, kOn, kBoth };
constexpr auto enum_names(WithoutReasoning) {
  return std::to_array<EnumName<WithoutReasoning>>({{WithoutReasoning::kOff, "off"},
                                                    {WithoutReasoning::kOn, "on"},
                                                    {WithoutReasoning::kBoth, "both"}});
}

// How conversations become text to train on: in the model's own format, so that what is learnt is
// what will be asked for.
class TrainingFormat {
 public:
  // `ends`: the model's end tokens. A template that writes none after an answer gets one appended,
  // and that is said once. A tokenizer shares its tables; both are kept.
  TrainingFormat(Tokenizer tokenizer, ChatTemplate chat_template = ChatTemplate(),
                 StopRule ends = {}, WithoutReasoning without_reasoning = WithoutReasoning::kOff);

  // Every assistant turn once, each in the prompt it would really have had. `tools`: a list, or
  // null. `where` names the record in errors. Throws kInvalidArgument where the template renders a
  // turn otherwise than its own generation prompt announces it.
  std::vector<TokenDocument> documents(const std::vector<Message>& messages, const Json& tools,
                                       const std::string& where) const;
  const Tokenizer& tokenizer() const { return tokenizer_; }
  // Whether earlier answers without reasoning are learnt in the rendering of a later one, as
  // answers with thinking off.
  bool learns_earlier_answers() const;

 private:
  void add_samples(const std::vector<Message>& messages, const ChatOptions& options,
                   std::vector<TokenDocument>& out) const;
  std::vector<ChatPiece> turn(const std::vector<Message>& messages, size_t index, const Json& tools,
                              const std::string& where) const;
  std::string end_of(std::string& answer) const;
  void note_dropped_reasoning(const Message& message, const std::string& rendered,
                              const std::string& turn) const;
  void note_repeated_turns(int64_t sample_count, const std::string& where) const;

  Tokenizer tokenizer_;
  ChatTemplate template_;
  std::vector<std::string> ends_;
  WithoutReasoning without_reasoning_;
  struct Said {  // What is said of a template once, however many conversations it holds for.
    std::once_flag no_end, dropped_reasoning, repeated_turns;
  };
  std::shared_ptr<Said> said_ = std::make_shared<Said>();
};

// Ends with the last trained token.
TokenDocument encode_pieces(const std::vector<ChatPiece>& pieces, const Tokenizer& tokenizer);

// Every assistant turn of every conversation of a chat JSONL ({"messages": [...]}), in the prompt
// it would really have had. Throws kCorrupt or kInvalidArgument naming the record.
std::shared_ptr<const DocumentSource> load_conversations(const Path& jsonl,
                                                         const TrainingFormat& format);

// Problem i of the train split, with its worked solution as the reasoning; with mixture.turns_max
// above 1 as the last question of a conversation. Of a conversation with reasoning the last answer
// is learnt, and the earlier ones, which stand without theirs, as answers with thinking off; a
// share of mixture.without_reasoning_share has no reasoning at all. Document i depends on (mixture,
// seed, i) alone. limit 0: without end.
std::shared_ptr<const DocumentSource> problem_conversations(const TaskMixture& mixture,
                                                            uint64_t seed, int64_t limit,
                                                            const TrainingFormat& format);

// Problems of the held-out split, `count_per_cell` for every task and language: never trained on by
// any run.
std::shared_ptr<const DocumentSource> heldout_problem_conversations(const TaskMixture& mixture,
                                                                    uint64_t seed,
                                                                    int64_t count_per_cell,
                                                                    const TrainingFormat& format);

}  // namespace dure
