// The cuts are listed once, from the documents' lengths; a piece is read by reading its document
// whole. A rest of one token is left out: nothing follows it that could be learnt.
#include "data/pieces.h"

#include <algorithm>

#include "base/check.h"

namespace dure {

PiecedDocuments::PiecedDocuments(std::shared_ptr<const DocumentSource> documents,
                                 int64_t piece_tokens_max)
    : documents_(std::move(documents)), piece_tokens_max_(piece_tokens_max) {
  DURE_CHECK(piece_tokens_max >= 2 && documents_->document_count() != kEndless, "{}",
             piece_tokens_max);
  TokenDocument document;
  for (int64_t i = 0; i < documents_->document_count(); ++i) {
    documents_->read(i, document);
    const int64_t length = std::ssize(document.ids);
    for (int64_t begin = 0; begin == 0 || begin + 1 < length; begin += piece_tokens_max)
      pieces_.emplace_back(i, begin);
  }
}

void PiecedDocuments::read(int64_t index, TokenDocument& out) const {
  const auto [document, begin] = pieces_[static_cast<size_t>(index)];
  documents_->read(document, out);
  const auto cut = [&, first = begin](auto& values) {
    if (values.empty()) return;  // No mask.
    const int64_t last = std::min(std::ssize(values), first + piece_tokens_max_);
    values.erase(values.begin() + last, values.end());
    values.erase(values.begin(), values.begin() + first);
  };
  cut(out.ids);
  cut(out.trained);
}

}  // namespace dure
