// train/corpora.h: several corpora as what one run learns from: how much of each, how often, and
// what they are called.
//
// Owns the entries of `data.corpora:` and what becomes of a path: a folder of `dure data prepare`
// is read as it is, any other file or folder is prepared into the run's cache first, by the same
// rules. Not here: tokens and rows (train_data.h), the order of draws (data/packing.h), the making
// of a corpus (data/corpus.h). docs/training.md.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/options.h"
#include "data/chat_form.h"
#include "data/records.h"

namespace dure {

// Which documents of a folder. kAuto: of pretraining the texts; of fine-tuning the conversations,
// else the texts, every token of which is learnt.
enum class CorpusPart : uint8_t { kAuto, kText, kConversations };
constexpr auto enum_names(CorpusPart) {
  return std::to_array<EnumName<CorpusPart>>({{CorpusPart::kAuto, "auto"},
                                              {CorpusPart::kText, "text"},
                                              {CorpusPart::kConversations, "conversations"}});
}

struct CorpusEntry {
  std::string path;
  std::string name;
  double weight = 0;
  double epochs = 0;
  CorpusPart part = CorpusPart::kAuto;
  RecordForm format = RecordForm::kAuto;
  double heldout_fraction = 0.02;
  template <typename V>
  void visit(V& v) {
    v("path", path, "a prepared corpus folder, or a file or folder that `dure data prepare` reads");
    v("name", name, "in metrics (empty: the path's last part)");
    v("weight", weight,
      "share of the tokens, relative to the other sources (0: 1; where no entry has a weight and "
      "all "
      "have epochs, by epochs times tokens, so that all end together)",
      at_least(0));
    v("epochs", epochs,
      "passes over it in the whole run at most, then the others share what is left; also 0.5 (0: "
      "as "
      "often as its weight asks for)",
      at_least(0));
    v("part", part,
      "its texts or its conversations; auto: the conversations for sft, where it has any");
    v("format", format, "form of JSONL records; auto: each as its fields show");
    v("heldout_fraction", heldout_fraction,
      "of a path that is not prepared yet: the share to measure on and never learn from",
      between(0, 0.9));
  }
};

// The entries with names of their own and paths of prepared folders. Prepares into
// CACHE/corpus-NAME-HASH; one that is there stands for a path that is gone. Logs the forms of what
// it reads. `source` names the configuration in errors. Throws kInvalidArgument: an entry without a
// path, a name that two have, a bad row (FILE:LINE) where they are refused; kNotFound; what files
// get wrong.
std::vector<CorpusEntry> prepared_corpora(const std::vector<CorpusEntry>& entries, BadRows bad_rows,
                                          const Path& cache, const std::string& source);

// What is read of a prepared folder. `fine_tuning`: of that stage. Throws kInvalidArgument where
// the folder lacks the part, or the stage cannot learn from it; `where` names the entry.
CorpusPart part_of(const CorpusEntry& entry, bool fine_tuning, const std::string& where);

// Draws that make up the epochs: 15 for 1.5 epochs of 10 documents, at least 1; as many as there
// are where epochs is 0.
int64_t draws_of(double epochs, int64_t document_count);

}  // namespace dure
