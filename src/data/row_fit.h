// data/row_fit.h: what becomes of conversations longer than a row, decided and said before the
// first step.
//
// Not here: text, which is cut into pieces (pieces.h); how rows are filled (packing.h), where what
// is still too long is dropped and counted.
#pragma once

#include <memory>
#include <string>

#include "data/token_document.h"
#include "data/too_long.h"

namespace dure {

struct RowFit {
  int64_t row_tokens = 0;
  // Left out, cut at the row's end (left out where nothing to learn is left), or an error.
  TooLong too_long = TooLong::kDrop;
  std::string name;  // Of the source, for messages.
};

// `documents` as rows of `row_tokens` will take them. Logs how many are longer (of an endless
// source: of the first 1,000). Throws kInvalidArgument where none of them is left, and with kRefuse
// where one is too long; of an endless source then also when it is read.
std::shared_ptr<const DocumentSource> fit_rows(std::shared_ptr<const DocumentSource> documents,
                                               const RowFit& fit);

}  // namespace dure
