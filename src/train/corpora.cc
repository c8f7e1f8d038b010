// Entries are named, then each path is prepared unless it is a prepared folder.
#include "train/corpora.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "data/corpus.h"
#include "data/token_document.h"

namespace dure {
namespace {

std::string place_of(const std::string& source, size_t index) {
  return fmt::format("{}: data.corpora[{}]", source, index);
}

// A name becomes part of metrics and of a folder's name.
std::string tidy_name(const std::string& text) {
  std::string out;
  for (const char c : text)
    out +=
        std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' ? c : '_';
  return out.empty() ? "corpus" : out;
}

// "notes" of "notes.jsonl.gz", "corpus" of "runs/corpus/".
std::string default_name(const Path& path) {
  Path last = path.filename().empty() ? path.parent_path().filename() : path.filename();
  while (last.has_extension() && !last.stem().empty()) last = last.stem();
  return tidy_name(last.string());
}

void name_entries(std::vector<CorpusEntry>& entries, const std::string& source) {
  std::set<std::string> taken = {"tasks"};
  for (size_t i = 0; i < entries.size(); ++i) {
    CorpusEntry& entry = entries[i];
    if (entry.path.empty())
      fail(ErrorCode::kInvalidArgument, "{}: path is empty: name a folder or a file",
           place_of(source, i));
    if (!entry.name.empty()) {
      if (tidy_name(entry.name) != entry.name)
        fail(ErrorCode::kInvalidArgument,
             "{}: name is '{}': letters, digits, '-', '_' and '.' alone, as it stands in metrics",
             place_of(source, i), entry.name);
      if (!taken.insert(entry.name).second)
        fail(ErrorCode::kInvalidArgument, "{}: name '{}' is taken: give another",
             place_of(source, i), entry.name);
      continue;
    }
    const std::string name = default_name(entry.path);
    entry.name = name;
    for (int n = 2; !taken.insert(entry.name).second; ++n)
      entry.name = fmt::format("{}-{}", name, n);
  }
}

bool is_prepared(const Path& path) { return path_exists(path / "manifest.json"); }

// The folder that an entry is prepared into: another one for another path or other options.
Path folder_of(const CorpusEntry& entry, const Path& cache) {
  const std::string options = fmt::format("{} {} {}", entry.path, name_of(entry.format),
                                          Json(entry.heldout_fraction).dump());
  return cache / fmt::format("corpus-{}-{:08x}", entry.name, xxh64(options) & 0xffffffff);
}

Path prepared_folder(const CorpusEntry& entry, BadRows bad_rows, const Path& cache,
                     const std::string& where) {
  const Path path(entry.path), folder = folder_of(entry, cache);
  if (is_prepared(path)) return path;
  if (!path_exists(path)) {
    if (is_prepared(folder)) return folder;
    fail(ErrorCode::kNotFound, "{}: path: no file or folder {}", where, entry.path);
  }
  CorpusOptions options;
  options.sources.push_back(
      {.paths = {entry.path}, .format = entry.format, .heldout_fraction = entry.heldout_fraction});
  const CorpusReport report =
      prepare_corpus(options, {.out = folder,
                               .refuse_bad = bad_rows == BadRows::kRefuse
                                                 ? "data.bad_rows: drop leaves such rows out"
                                                 : ""});
  if (report.bad.count() > 0)
    log_warn("{}: {} rows left out: they cannot be used", entry.path, report.bad.count());
  if (report.duplicate_count > 0)
    log_info("{}: {} exact duplicates left out", entry.path, report.duplicate_count);
  return folder;
}

}  // namespace

std::vector<CorpusEntry> prepared_corpora(const std::vector<CorpusEntry>& entries, BadRows bad_rows,
                                          const Path& cache, const std::string& source) {
  std::vector<CorpusEntry> out = entries;
  name_entries(out, source);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].path = prepared_folder(out[i], bad_rows, cache, place_of(source, i)).string();
    corpus_manifest(out[i].path);  // Says what to do where the folder is of another version.
  }
  return out;
}

CorpusPart part_of(const CorpusEntry& entry, bool fine_tuning, const std::string& where) {
  const Path folder(entry.path);
  const bool text = path_exists(train_file(folder));
  const bool chat = path_exists(folder / "chat-train.jsonl");
  CorpusPart part = entry.part;
  if (part == CorpusPart::kAuto)
    part = fine_tuning && chat ? CorpusPart::kConversations : CorpusPart::kText;
  if (part == CorpusPart::kConversations && !fine_tuning)
    fail(ErrorCode::kInvalidArgument,
         "{}: part is conversations: pretraining learns texts; set stage to sft", where);
  if (part == CorpusPart::kText ? text : chat) return part;
  fail(ErrorCode::kInvalidArgument, "{}: {} has no {} to learn from, only {}{}", where, entry.path,
       part == CorpusPart::kText ? "texts" : "conversations",
       part == CorpusPart::kText ? "conversations" : "texts",
       part == CorpusPart::kText && !fine_tuning ? " (stage sft learns from them)" : "");
}

int64_t draws_of(double epochs, int64_t document_count) {
  if (epochs <= 0) return DocumentSource::kEndless;
  const double draws = std::round(epochs * static_cast<double>(document_count));
  return draws < 1e15 ? std::max<int64_t>(1, static_cast<int64_t>(draws))
                      : DocumentSource::kEndless;
}

}  // namespace dure
