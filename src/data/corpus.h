// data/corpus.h: a prepared corpus: a folder of JSONL documents, split into train and held-out. See
// docs/data.md.
//
//   train.jsonl          {"text", "language", "source"} documents to train on
//   heldout-LANG.jsonl   documents never trained on, one file a language
//   chat-train.jsonl, chat-heldout.jsonl   {"messages", "tools", "language", "source"}, where there
//                        are conversations
//   manifest.json        what it was made from, counts, hashes, bad records
//
// Owns the options, the split, and the folder. Not here: input files, their kinds and languages
// (corpus_inputs.h), extraction of text (text_extract.h), tokens (shard.h). The same inputs and
// options give the same bytes.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/jsonl.h"
#include "data/records.h"
#include "data/tasks/mixture.h"

namespace dure {

// By each document's hash, by chapters named in the source, all to train on, all held out.
enum class SplitRule { kHash, kChapter, kTrain, kHeldout };
constexpr auto enum_names(SplitRule) {
  return std::to_array<EnumName<SplitRule>>({{SplitRule::kHash, "hash"},
                                             {SplitRule::kChapter, "chapter"},
                                             {SplitRule::kTrain, "train"},
                                             {SplitRule::kHeldout, "heldout"}});
}

struct CorpusSource {
  std::string name;                // Stands in "source" before the path: "manual/ko/ch01.html".
  std::vector<std::string> paths;  // Files or folders.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  RecordForm format = RecordForm::kAuto;
  std::string language;
  std::vector<std::string> languages;
  SplitRule split = SplitRule::kHash;
  std::vector<std::string> heldout_chapters;
  double heldout_fraction = 0.02;
  int64_t piece_bytes_max = 16384;
  std::string hint;
  template <typename V>
  void visit(V& v) {
    v("name", name, "stands before the path in each document's \"source\"");
    v("paths", paths, "files or folders: text, Markdown, HTML, JSONL, JSON; also .gz and .zst");
    v("include", include, "patterns such as *.html: in folders, only files that match one");
    v("exclude", exclude, "patterns: in folders, no file that matches one");
    v("format", format, "form of JSONL records; auto: each as its fields show");
    v("language", language,
      "language of documents that do not say; empty: the name of a folder such as ko/, else 'und'");
    v("languages", languages, "keep only documents in these; empty: all");
    v("split", split,
      "hash: by the document's hash; chapter: the chapters named below; train: all; heldout: all");
    v("heldout_chapters", heldout_chapters,
      "with split: chapter: file names up to a section number (ch08 holds ch08s01.html)");
    v("heldout_fraction", heldout_fraction, "with split: hash: the share held out", between(0, 1));
    v("piece_bytes_max", piece_bytes_max,
      "with split: hash: longer documents are cut at paragraphs; 0: never", at_least(0));
    v("hint", hint, "what to do where a path is missing; shown in the error");
  }
};

struct TaskDocuments {
  int64_t document_count = 0;
  TaskMixture mixture;
  template <typename V>
  void visit(V& v) {
    v("document_count", document_count,
      "verifiable problems, with their solutions, to write into train.jsonl as text", at_least(0));
    v("mixture", mixture, "which tasks, how hard, in which languages");
  }
};

struct CorpusOptions {
  int64_t seed = 1;
  bool keep_duplicates = false;
  std::vector<CorpusSource> sources;
  TaskDocuments tasks;
  template <typename V>
  void visit(V& v) {
    v("seed", seed, "seed of the generated problems");
    v("keep_duplicates", keep_duplicates,
      "keep documents whose text is exactly that of an earlier one");
    v("sources", sources,
      "a list; each: name, paths, include, exclude, language, languages, split, ...");
    v("tasks", tasks, "generated problems");
  }
};

struct CorpusCount {
  int64_t document_count = 0;
  int64_t text_bytes = 0;
};

struct CorpusReport {
  std::map<std::string, CorpusCount> files;  // "train.jsonl", "heldout-ko.jsonl", ...
  std::map<std::string, CorpusCount> train;  // By language, conversations left out.
  BadRecords bad;
  ChatNotes notes;  // Of conversations.
  int64_t duplicate_count = 0;
  int64_t skipped_file_count = 0;  // In folders, of no known kind.
  bool reused = false;             // Nothing had changed: the folder was left as it is.
};

// Makes the folder `out` (committed by rename), or leaves it where it was made from the same inputs
// and options and `force` is not set. Replaces a corpus of the same options whose input files have
// changed; one of other options only by `force`. Throws kNotFound (a path is missing),
// kInvalidArgument (options; `out` is some other folder or corpus, or holds an input; a bad record
// where they are refused), kCorrupt (no usable document).
struct PrepareOptions {
  Path out;
  bool force = false;
  std::string refuse_bad = {};  // Not empty: the first bad record is an error, ending in this.
};
CorpusReport prepare_corpus(const CorpusOptions& corpus, const PrepareOptions& prepare);

// Throws kInvalidArgument naming `where` and the field.
void check_corpus_options(const CorpusOptions& options, const std::string& where);

// Calls `use` for each record of a JSONL file, in order. A bad record is an Error kCorrupt here:
// prepared files have none.
void for_each_record(const Path& jsonl, const std::function<void(const Record&)>& use);

// The languages that have a held-out file, in alphabetical order. Throws kNotFound where `corpus`
// is no prepared folder.
std::vector<std::string> heldout_languages(const Path& corpus);
inline Path train_file(const Path& corpus) { return corpus / "train.jsonl"; }
inline Path heldout_file(const Path& corpus, const std::string& language) {
  return corpus / ("heldout-" + language + ".jsonl");
}

// manifest.json of a prepared folder. Throws kNotFound, kCorrupt with what to do.
Json corpus_manifest(const Path& corpus);

// "ch08" of ".../ch08s01.html", "apa" of "apa.html": the stem without "s" and digits at its end.
std::string chapter_of(const Path& path);

// Pieces of at most `bytes_max` bytes cut at empty lines, else at lines, else at characters. 0: one
// piece.
std::vector<std::string> cut_text(const std::string& text, int64_t bytes_max);

}  // namespace dure
