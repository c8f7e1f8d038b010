// Conversations against the length of a row: counted, truncated, refused.
#include "data/row_fit.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace dure {
namespace {

constexpr int64_t kProbeCount = 1000;  // Of an endless source.

class FittedDocuments : public DocumentSource {
 public:
  FittedDocuments(std::shared_ptr<const DocumentSource> documents, RowFit fit)
      : documents_(std::move(documents)), fit_(std::move(fit)) {}
  int64_t document_count() const override { return documents_->document_count(); }
  int64_t conversation_of(int64_t index) const override {
    return documents_->conversation_of(index);
  }

  void read(int64_t index, TokenDocument& out) const override {
    documents_->read(index, out);
    if (std::ssize(out.ids) <= fit_.row_tokens) return;
    if (fit_.too_long == TooLong::kRefuse) {
      fail(
          ErrorCode::kInvalidArgument,
          "{}: conversation {} has {} tokens, a row {} (batch.tokens), and data.too_long is refuse",
          fit_.name, documents_->conversation_of(index), out.ids.size(), fit_.row_tokens);
    }
    const auto length = static_cast<size_t>(fit_.row_tokens);
    out.ids.resize(length);
    if (out.trained.empty()) return;
    out.trained.resize(length);
    // All of it a prompt: an empty document, which packing leaves out and counts.
    if (std::find(out.trained.begin(), out.trained.end(), 1) == out.trained.end()) out.clear();
  }

 private:
  std::shared_ptr<const DocumentSource> documents_;
  RowFit fit_;
};

struct Lengths {
  int64_t count = 0, long_count = 0, longest_tokens = 0, useless_count = 0;
  int64_t conversations = 0, long_conversations = 0;  // One may be several samples.

  // The conversations that are too long, and their samples where these are others.
  std::string text(bool endless) const {
    const char* first = endless ? "the first " : "";
    const std::string samples =
        conversations == count ? "" : fmt::format(" ({} of {} samples)", long_count, count);
    return fmt::format("{} of {}{} conversations{}", long_conversations, first, conversations,
                       samples);
  }
};

// `useless`: too long, and nothing to learn in the beginning that a row takes.
Lengths measure(const DocumentSource& documents, const RowFit& fit) {
  Lengths lengths;
  const int64_t count = documents.document_count();
  lengths.count = count == DocumentSource::kEndless ? kProbeCount : count;
  TokenDocument document;
  int64_t last = -1, last_long = -1;
  const auto count_new = [](int64_t conversation, int64_t& counted, int64_t& total) {
    total += conversation != counted ? 1 : 0;
    counted = conversation;
  };
  for (int64_t i = 0; i < lengths.count; ++i) {
    documents.read(i, document);
    const int64_t conversation = documents.conversation_of(i);
    count_new(conversation, last, lengths.conversations);
    const int64_t tokens = std::ssize(document.ids);
    lengths.longest_tokens = std::max(lengths.longest_tokens, tokens);
    if (tokens <= fit.row_tokens) continue;
    lengths.long_count += 1;
    count_new(conversation, last_long, lengths.long_conversations);
    const auto& trained = document.trained;
    const auto end = trained.begin() + std::min(std::ssize(trained), fit.row_tokens);
    if (!trained.empty() && std::find(trained.begin(), end, 1) == end) lengths.useless_count += 1;
  }
  return lengths;
}

void announce(const Lengths& lengths, const RowFit& fit, const std::string& facts) {
  if (fit.too_long == TooLong::kRefuse)
    fail(ErrorCode::kInvalidArgument, "{}, and data.too_long is refuse", facts);
  if (fit.too_long == TooLong::kDrop) {
    log_warn("{}: left out; raise batch.tokens, or set data.too_long to truncate", facts);
  } else {
    log_warn("{}: truncated, {} of them left out because nothing to learn is left", facts,
             lengths.useless_count);
  }
}

}  // namespace

std::shared_ptr<const DocumentSource> fit_rows(std::shared_ptr<const DocumentSource> documents,
                                               const RowFit& fit) {
  const Lengths lengths = measure(*documents, fit);
  const bool endless = documents->document_count() == DocumentSource::kEndless;
  if (lengths.long_count > 0) {
    const std::string facts =
        fmt::format("{}: {} are longer than a row of {} tokens (the longest has {})", fit.name,
                    lengths.text(endless), fit.row_tokens, lengths.longest_tokens);
    announce(lengths, fit, facts);
    const int64_t lost =
        fit.too_long == TooLong::kDrop ? lengths.long_count : lengths.useless_count;
    if (lost == lengths.count)
      fail(ErrorCode::kInvalidArgument, "{}, so none is left: raise batch.tokens", facts);
  }
  if (fit.too_long == TooLong::kDrop) return documents;
  return std::make_shared<FittedDocuments>(std::move(documents), fit);
}

}  // namespace dure
