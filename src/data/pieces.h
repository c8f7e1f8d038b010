// data/pieces.h: long documents as several of at most N tokens, so that shuffling mixes them.
//
// A chapter of ten thousand tokens drawn whole would fill several batches by itself. Each piece is
// drawn on its own and knows nothing of its neighbours. Not here: the order of drawing, rows and
// batches (packing.h).
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "data/token_document.h"

namespace dure {

class PiecedDocuments : public DocumentSource {
 public:
  // Reads every document's length once. Checked: piece_tokens_max >= 2, `documents` has an end. A
  // last piece of one token, which could teach nothing, is left out.
  PiecedDocuments(std::shared_ptr<const DocumentSource> documents, int64_t piece_tokens_max);

  int64_t document_count() const override { return std::ssize(pieces_); }
  void read(int64_t index, TokenDocument& out) const override;

 private:
  std::shared_ptr<const DocumentSource> documents_;
  int64_t piece_tokens_max_;
  std::vector<std::pair<int64_t, int64_t>> pieces_;  // document, first token
};

}  // namespace dure
