#include "data/sft.h"

#include "base/error.h"
#include "data/corpus.h"

namespace dure {
namespace {

TokenDocument problem_document(const Problem& problem, const Tokenizer& tokenizer) {
  const std::vector<Message> messages = {
      {.role = Role::kUser, .content = problem.prompt},
      {.role = Role::kAssistant, .content = problem.answer, .reasoning = problem.thinking}};
  return encode_pieces(render_training(messages, {}), tokenizer);
}

class ProblemConversations : public DocumentSource {
 public:
  ProblemConversations(const TaskMixture& mixture, uint64_t seed, int64_t limit,
                       const Tokenizer& tokenizer)
      : mixture_(mixture), seed_(seed), limit_(limit), tokenizer_(tokenizer) {}

  int64_t document_count() const override { return limit_ > 0 ? limit_ : kEndless; }

  void read(int64_t index, TokenDocument& out) const override {
    Rng rng(seed_, stream_id("sft problem", static_cast<uint64_t>(index)));
    Problem problem = make_problem(mixture_, Split::kTrain, rng);
    if (rng.uniform() < mixture_.hunch_share)
      problem.thinking = problem.answer;  // Not every demonstration works things out.
    out = problem_document(problem, tokenizer_);
  }

 private:
  TaskMixture mixture_;
  uint64_t seed_;
  int64_t limit_;
  Tokenizer tokenizer_;  // Shares its tables.
};

}  // namespace

TokenDocument encode_pieces(const std::vector<ChatPiece>& pieces, const Tokenizer& tokenizer) {
  TokenDocument document;
  for (const ChatPiece& piece : pieces) {
    // A conversation is rendered whole: nothing is put around it or its pieces.
    tokenizer.encode_to(piece.text, {.add_special_tokens = false}, document.ids);
    document.trained.resize(document.ids.size(), piece.trained ? 1 : 0);
  }
  // What follows the last trained token (the newline after a turn) would only cost time.
  while (!document.trained.empty() && document.trained.back() == 0) {
    document.ids.pop_back();
    document.trained.pop_back();
  }
  return document;
}

std::shared_ptr<const DocumentSource> load_conversations(const Path& jsonl,
                                                         const Tokenizer& tokenizer) {
  std::vector<TokenDocument> documents;
  int64_t number = 0;
  for_each_record(jsonl, [&](const Record& record) {
    const std::string where = fmt::format("{}: record {}", jsonl.string(), ++number);
    if (!record.is_chat())
      fail(ErrorCode::kCorrupt, "{}: no conversation: \"messages\" is needed for fine-tuning",
           where);
    const std::vector<Message> messages =
        messages_from_json(parse_json(record.messages, where), where);
    for (const std::vector<ChatPiece>& sample : render_training_samples(messages, {}))
      documents.push_back(encode_pieces(sample, tokenizer));
  });
  if (documents.empty()) fail(ErrorCode::kCorrupt, "{}: holds no conversation", jsonl.string());
  return std::make_shared<MemoryDocuments>(std::move(documents));
}

std::shared_ptr<const DocumentSource> problem_conversations(const TaskMixture& mixture,
                                                            uint64_t seed, int64_t limit,
                                                            const Tokenizer& tokenizer) {
  return std::make_shared<ProblemConversations>(mixture, seed, limit, tokenizer);
}

std::shared_ptr<const DocumentSource> heldout_problem_conversations(const TaskMixture& mixture,
                                                                    uint64_t seed,
                                                                    int64_t count_per_cell,
                                                                    const Tokenizer& tokenizer) {
  std::vector<TokenDocument> documents;
  for (const Problem& problem : make_problem_grid(mixture, Split::kHeldout, seed, count_per_cell))
    documents.push_back(problem_document(problem, tokenizer));
  return std::make_shared<MemoryDocuments>(std::move(documents));
}

}  // namespace dure
