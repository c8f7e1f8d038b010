// environments/molecules/modes.h: what the program does besides episodes: items, traces, the table
// of baselines, properties of given molecules.
#pragma once

#include <iosfwd>

#include "molecules/search.h"

namespace dure::molecules {

struct ServeOptions {
  std::string known;
  template <typename V>
  void visit(V& v) {
    v("known", known,
      "file of canonical SMILES, one a line, that are nothing new (traces --form smiles writes "
      "one)");
  }
};
void serve(const ServeOptions& options);

struct ItemOptions {
  int64_t count = 100;
  int64_t seed = 1;
  int64_t first = 0;
  int64_t proposals = 4;
  bool heldout = false;
  template <typename V>
  void visit(V& v) {
    v("count", count, "how many", between(1, 1000000));
    v("seed", seed, "of what is drawn", at_least(0));
    v("first", first, "number of the first target", at_least(0));
    v("proposals", proposals, "molecules that may be proposed in an episode", between(1, 1000));
    v("heldout", heldout, "targets that no trace and no training item has");
  }
};
void write_items(const ItemOptions& options, std::ostream& out);

enum class TraceForm : uint8_t { kChat, kText, kSmiles };
constexpr auto enum_names(TraceForm) {
  return std::to_array<EnumName<TraceForm>>(
      {{TraceForm::kChat, "chat"}, {TraceForm::kText, "text"}, {TraceForm::kSmiles, "smiles"}});
}
struct TraceOptions {
  int64_t targets = 2000;
  int64_t seed = 1;
  int64_t proposals = 4;
  int64_t pool = 4000;
  double guided = 0.5;
  TraceForm form = TraceForm::kChat;
  template <typename V>
  void visit(V& v) {
    v("targets", targets, "training targets, from number 0: a trace each", between(1, 1000000));
    v("seed", seed, "of targets, pool and choices", at_least(0));
    v("proposals", proposals, "molecules proposed in a trace", between(1, 100));
    v("pool", pool, "drawn molecules that traces choose from", between(100, 1000000));
    v("guided", guided,
      "share of traces whose proposals come nearer to the target; others are any of the pool",
      between(0, 1));
    v("form", form,
      "conversations to fine-tune on, texts to pretrain on, or the pool's SMILES (for --known)");
  }
};
void write_traces(const TraceOptions& options, std::ostream& out);

struct BaselineOptions {
  int64_t targets = 50;
  int64_t seed = 1;
  std::vector<int64_t> proposals = {4, 16, 64, 256};
  template <typename V>
  void visit(V& v) {
    v("targets", targets, "held-out targets, from number 0", between(1, 100000));
    v("seed", seed, "of targets and searches", at_least(0));
    v("proposals", proposals, "budgets: molecules measured");
  }
};
void print_baselines(const BaselineOptions& options, std::ostream& out);

// Lines of SMILES on standard input; canonical form and properties of each as a JSON line.
void print_properties(std::istream& in, std::ostream& out);

// Known molecules, whose values RDKit's Python module and its SA_Score give too, and an episode.
// Throws Error where they differ.
void self_test(std::ostream& out);

}  // namespace dure::molecules
