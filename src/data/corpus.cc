// A corpus prepared: inputs split, written, counted; and what is asked of a prepared one.
#include "data/corpus.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <optional>
#include <set>
#include <unordered_set>

#include "base/error.h"
#include "base/hash.h"
#include "base/interrupt.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "data/corpus_inputs.h"
#include "data/tasks/problem.h"

namespace dure {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "dure-corpus";
constexpr int kVersion = 1;
// Raised whenever the same inputs and options give other documents (extraction, generators), so
// that old folders are made again.
constexpr int kContentRevision = 3;

struct SourceInputs {
  const CorpusSource* source;
  std::vector<InputFile> files;
};

// The output folder while it is being filled: one staged file a name, with counts and a running
// hash of hashes.
class Writer {
 public:
  explicit Writer(const Path& folder) : folder_(folder) {}

  void add(const std::string& name, const Record& record) {
    Output& output = outputs_[name];
    if (!output.file) output.file = std::make_unique<StagedFile>(folder_ / name);
    const std::string line = record_line(record);
    output.buffer += line;
    output.hash = xxh64(line, output.hash);
    output.count.document_count += 1;
    output.count.text_bytes +=
        static_cast<int64_t>(record.is_chat() ? record.messages.size() : record.text.size());
    if (output.buffer.size() > (1 << 20)) output.flush();
  }

  void finish(CorpusReport& report, Json& files) {
    for (auto& [name, output] : outputs_) {
      output.flush();
      output.file->commit();
      report.files[name] = output.count;
      Json entry = Json::object();
      entry["documents"] = output.count.document_count;
      entry["text_bytes"] = output.count.text_bytes;
      entry["chained_xxh64"] = fmt::format("{:016x}", output.hash);
      files[name] = entry;
    }
  }

 private:
  struct Output {
    std::unique_ptr<StagedFile> file;
    std::string buffer;
    CorpusCount count;
    uint64_t hash = 0;
    void flush() {
      file->write(buffer);
      buffer.clear();
    }
  };
  Path folder_;
  std::map<std::string, Output> outputs_;
};

// What a conversation's side is told by: all that it opens with, its first question included.
// Several answers to one question, and one conversation cut at several turns, so fall on one side.
std::string opening_of(const Record& chat) {
  const Json messages = parse_json(chat.messages, "messages");
  std::string out;
  for (const Json& message : messages.as_array()) {
    const std::string role = message.at("role").as_string();
    const Json* content = message.find("content");
    out += role + '\n' + (content == nullptr ? "" : content->dump()) + '\n';
    if (role == "user") return out;
  }
  return out;
}

bool held_out(const CorpusSource& source, const InputFile& file, const Record& record) {
  // Of a prepared corpus: what it trains on may still be held out as a whole.
  if (file.heldout) return *file.heldout || source.split == SplitRule::kHeldout;
  if (source.split == SplitRule::kTrain) return false;
  if (source.split == SplitRule::kHeldout) return true;
  if (source.split == SplitRule::kChapter) {
    const auto& chapters = source.heldout_chapters;
    return std::find(chapters.begin(), chapters.end(), chapter_of(file.path)) != chapters.end();
  }
  // Fixed: a document keeps its side whatever else is prepared.
  constexpr uint64_t kSplitSeed = 0x6475726568656c64;
  const uint64_t hash = xxh64(record.is_chat() ? opening_of(record) : record.text, kSplitSeed);
  return static_cast<double>(hash >> 11) * 0x1p-53 < source.heldout_fraction;
}

// Whole chapters are held out in every language, so that scores by language compare like with like.
void check_chapters(const SourceInputs& inputs) {
  if (inputs.source->split != SplitRule::kChapter) return;
  std::map<std::string, std::set<std::string>> chapters;  // language -> chapters
  for (const InputFile& file : inputs.files) {
    if (!file.heldout) chapters[file.language].insert(chapter_of(file.path));
  }
  for (const auto& [language, present] : chapters) {
    for (const std::string& wanted : inputs.source->heldout_chapters) {
      if (present.contains(wanted)) continue;
      std::string list;
      for (const std::string& name : present) list += (list.empty() ? "" : ", ") + name;
      fail(ErrorCode::kInvalidArgument,
           "source '{}': heldout_chapters: no chapter '{}' in language '{}'; it has {}",
           inputs.source->name, wanted, language, list);
    }
  }
}

// What the folder is made from: options, and each input's path, size and time of change.
std::string fingerprint_of(const CorpusOptions& options, const std::vector<SourceInputs>& inputs) {
  std::string text = fmt::format("{} {}", kContentRevision, to_json(options).dump());
  for (const SourceInputs& source : inputs) {
    for (const InputFile& file : source.files) {
      const auto changed = fs::last_write_time(file.path).time_since_epoch().count();
      text += fmt::format("\n{}\t{}\t{}", file.path.string(), dure::file_size(file.path), changed);
    }
  }
  return fmt::format("{:016x}", xxh64(text));
}

// Refuses to replace a folder that is not a prepared corpus; true where it is one with this
// fingerprint.
bool is_up_to_date(const Path& out, const std::string& fingerprint) {
  if (!path_exists(out)) return false;
  if (!fs::is_directory(out))
    fail(ErrorCode::kInvalidArgument, "{} is a file: --out names a folder", out.string());
  if (fs::is_empty(out)) return false;
  if (!path_exists(out / "manifest.json")) {
    fail(ErrorCode::kInvalidArgument,
         "{} holds something else than a prepared corpus: give --out another name", out.string());
  }
  const Json manifest = corpus_manifest(out);
  const Json* found = manifest.find("fingerprint");
  return found != nullptr && found->is_string() && found->as_string() == fingerprint;
}

// The fields by which the options of the corpus at `out` differ from these, defaults filled in; all
// of them where its own cannot be read.
std::string changed_fields(const Path& out, const CorpusOptions& options) {
  const Json now = to_json(options);
  Json then = Json::object();
  try {
    CorpusOptions old;
    from_json(old, corpus_manifest(out).at("options"), out.string());
    then = to_json(old);
  } catch (const Error&) {
    then = Json::object();
  }
  std::string list;
  for (const auto& [name, value] : now.as_object()) {
    const Json* old = then.find(name);
    if (old == nullptr || !(*old == value)) list += (list.empty() ? "" : ", ") + name;
  }
  return list;
}

// A run that was put into a corpus's folder would be deleted with it.
void check_nothing_else(const Path& out) {
  const Json manifest = corpus_manifest(out);
  for (const auto& entry : fs::directory_iterator(out)) {
    const std::string name = entry.path().filename().string();
    if (name == "manifest.json" || name.starts_with(".") || manifest.at("files").contains(name))
      continue;
    fail(ErrorCode::kInvalidArgument,
         "{} holds more than a prepared corpus ({}), which would be deleted: give --out another "
         "name",
         out.string(), name);
  }
}

// Files that changed are why one prepares again; a corpus of something else may still be wanted.
void check_replacement(const Path& out, const CorpusOptions& options, bool force) {
  if (!path_exists(out / "manifest.json")) return;
  check_nothing_else(out);
  const std::string changed = changed_fields(out, options);
  if (!changed.empty() && !force) {
    fail(ErrorCode::kInvalidArgument,
         "{} holds a corpus of other inputs or options ({} differ): give --out another name, or "
         "--force to replace it",
         out.string(), changed);
  }
  log_info("{}: the corpus there is replaced{}", out.string(),
           changed.empty() && !force ? ": its input files have changed" : "");
}

// The folder is replaced as a whole: an input in it would be deleted, and what it held out with it.
void check_out_holds_no_input(const Path& out, const std::vector<SourceInputs>& inputs) {
  for (const SourceInputs& source : inputs) {
    for (const InputFile& file : source.files) {
      if (!lies_in(file.path, out)) continue;
      fail(ErrorCode::kInvalidArgument,
           "--out {} holds {}, an input of this corpus, and would be replaced: give --out another "
           "name",
           out.string(), file.path.string());
    }
  }
}

CorpusReport report_of_manifest(const Json& manifest) {
  CorpusReport report;
  report.reused = true;
  const auto counts = [](const Json& json) {
    return CorpusCount{json.at("documents").as_int("documents"),
                       json.at("text_bytes").as_int("text_bytes")};
  };
  for (const auto& [name, entry] : manifest.at("files").as_object())
    report.files[name] = counts(entry);
  for (const auto& [name, entry] : manifest.at("train_by_language").as_object())
    report.train[name] = counts(entry);
  report.duplicate_count = manifest.at("duplicates").as_int();
  report.skipped_file_count = manifest.at("skipped_files").as_int();
  return report;
}

constexpr const char* kNothingWritten = "nothing was written; run it again to prepare the corpus";

class Preparation {
 public:
  Preparation(const CorpusOptions& options, const Path& folder, const std::string& refuse_bad)
      : options_(options), writer_(folder) {
    report_.bad.refuse(refuse_bad);
  }

  void read_source(const SourceInputs& inputs, Progress& progress, int64_t& file_count) {
    for (const InputFile& file : inputs.files) {
      throw_if_interrupted(kNothingWritten);
      read_documents(file, report_,
                     [&](Record record) { take(*inputs.source, file, std::move(record)); });
      progress.update(++file_count);
    }
  }

  void add_task_documents() {
    const TaskDocuments& tasks = options_.tasks;
    for (int64_t i = 0; i < tasks.document_count; ++i) {
      Rng rng(static_cast<uint64_t>(options_.seed),
              stream_id("task documents", static_cast<uint64_t>(i)));
      const Problem problem = make_problem(tasks.mixture, Split::kTrain, rng);
      const std::string source = std::string("tasks/") + task_name(problem.task);
      write(false, {.text = problem_document(problem),
                    .messages = "",
                    .language = problem.language,
                    .source = source});
    }
  }

  // Writes the manifest and hands over the counts.
  CorpusReport finish(const Path& folder, const std::string& fingerprint,
                      int64_t skipped_file_count) {
    Json manifest = Json::object();
    manifest["format"] = kFormat;
    manifest["version"] = kVersion;
    manifest["fingerprint"] = fingerprint;
    manifest["options"] = to_json(options_);
    Json files = Json::object();
    writer_.finish(report_, files);
    warn_of_one_sided_chats();
    if (report_.files.empty()) {
      const std::string first =
          report_.bad.named().empty() ? "no input" : report_.bad.named().front();
      fail(ErrorCode::kCorrupt, "no usable document ({} bad records; the first: {})",
           report_.bad.count(), first);
    }
    manifest["files"] = files;
    Json languages = Json::object();
    for (const auto& [language, count] : report_.train) {
      Json entry = Json::object();
      entry["documents"] = count.document_count;
      entry["text_bytes"] = count.text_bytes;
      languages[language] = entry;
    }
    manifest["train_by_language"] = languages;
    manifest["bad_records"] = report_.bad.count();
    manifest["bad_records_named"] = Json::array_of(report_.bad.named());
    for (const auto& [key, count] : report_.notes.unknown_keys)
      manifest["unknown_keys"][key] = count;
    for (const auto& [form, count] : report_.notes.forms) manifest["forms"][name_of(form)] = count;
    manifest["reasoning_split"] = report_.notes.reasoning_split;
    manifest["reasoning_left"] = report_.notes.reasoning_left;
    manifest["duplicates"] = report_.duplicate_count;
    manifest["skipped_files"] = report_.skipped_file_count = skipped_file_count;
    write_file(folder / "manifest.json", manifest.dump(2) + "\n");
    return std::move(report_);
  }

 private:
  // Where all conversations have one opening, all fall on its side.
  void warn_of_one_sided_chats() const {
    const bool by_hash =
        std::any_of(options_.sources.begin(), options_.sources.end(), [](const CorpusSource& one) {
          return one.split == SplitRule::kHash && one.heldout_fraction < 1;
        });
    if (by_hash && report_.files.contains("chat-heldout.jsonl") &&
        !report_.files.contains("chat-train.jsonl")) {
      log_warn(
          "all conversations are held out, none is left to learn from: they open alike, or are "
          "few; give their source `split: train`");
    }
  }

  void take(const CorpusSource& source, const InputFile& file, Record record) {
    throw_if_interrupted(kNothingWritten);
    if (record.language.empty()) record.language = "und";
    const auto& wanted = source.languages;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), record.language) == wanted.end())
      return;
    if (record.is_chat() || source.split != SplitRule::kHash)
      return write(held_out(source, file, record), record);
    const std::vector<std::string> pieces = cut_text(record.text, source.piece_bytes_max);
    for (const std::string& piece : pieces) {
      record.text = piece;
      write(held_out(source, file, record), record);
    }
  }

  void write(bool heldout, const Record& record) {
    const std::string tools_and_messages = record.tools + record.messages;
    const uint64_t hash = xxh64(record.is_chat() ? tools_and_messages : record.text);
    // A held-out text that is trained on as well would spoil the score: duplicates go even across
    // languages and sources.
    if (!options_.keep_duplicates && !seen_.insert(hash).second) {
      ++report_.duplicate_count;
      return;
    }
    if (record.is_chat())
      return writer_.add(heldout ? "chat-heldout.jsonl" : "chat-train.jsonl", record);
    if (heldout) return writer_.add("heldout-" + file_safe(record.language) + ".jsonl", record);
    CorpusCount& count = report_.train[record.language];
    count.document_count += 1;
    count.text_bytes += static_cast<int64_t>(record.text.size());
    writer_.add("train.jsonl", record);
  }

  // A language comes from the user's records and ends up in a file name.
  static std::string file_safe(const std::string& language) {
    std::string safe;
    for (const char c : language.substr(0, 40))
      safe += std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ? c : '_';
    return safe;
  }

  const CorpusOptions& options_;
  Writer writer_;
  CorpusReport report_;
  std::unordered_set<uint64_t> seen_;
};

}  // namespace

void check_corpus_options(const CorpusOptions& options, const std::string& where) {
  if (options.sources.empty() && options.tasks.document_count == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: neither sources nor tasks.document_count: there is nothing to prepare", where);
  }
  for (size_t i = 0; i < options.sources.size(); ++i) {
    const CorpusSource& source = options.sources[i];
    if (source.paths.empty())
      fail(ErrorCode::kInvalidArgument, "{}: sources[{}]: paths is empty", where, i);
    if (source.split == SplitRule::kChapter && source.heldout_chapters.empty()) {
      fail(ErrorCode::kInvalidArgument,
           "{}: sources[{}]: split is chapter, but heldout_chapters is empty", where, i);
    }
  }
  check_mixture(options.tasks.mixture, where + ": tasks: mixture");
}

CorpusReport prepare_corpus(const CorpusOptions& options, const PrepareOptions& prepare) {
  check_corpus_options(options, "corpus");
  std::vector<SourceInputs> inputs;
  int64_t skipped_count = 0, file_count = 0;
  for (const CorpusSource& source : options.sources) {
    inputs.push_back({&source, find_inputs(source, prepare.out, skipped_count)});
    check_chapters(inputs.back());
    file_count += std::ssize(inputs.back().files);
  }
  const std::string fingerprint = fingerprint_of(options, inputs);
  if (is_up_to_date(prepare.out, fingerprint) && !prepare.force)
    return report_of_manifest(corpus_manifest(prepare.out));
  check_out_holds_no_input(prepare.out, inputs);
  check_replacement(prepare.out, options, prepare.force);

  if (prepare.out.has_parent_path()) make_folders(prepare.out.parent_path());
  const InterruptScope scope;
  StagedFolder folder(prepare.out);
  Preparation preparation(options, folder.path(), prepare.refuse_bad);
  Progress progress("prepare", file_count, "files");
  int64_t done = 0;
  for (const SourceInputs& source : inputs) preparation.read_source(source, progress, done);
  progress.finish();
  preparation.add_task_documents();
  CorpusReport report = preparation.finish(folder.path(), fingerprint, skipped_count);
  folder.commit();
  return report;
}

void for_each_record(const Path& jsonl, const std::function<void(const Record&)>& use) {
  JsonlReader reader(jsonl);
  Record record;
  for (auto outcome = reader.next(record); outcome != JsonlReader::Outcome::kEnd;
       outcome = reader.next(record)) {
    if (outcome == JsonlReader::Outcome::kBad) {
      fail(ErrorCode::kCorrupt, "{}{}: {}; `dure data prepare` drops and counts such records",
           reader.place(), record.source.empty() ? "" : " (" + record.source + ")",
           reader.problem());
    }
    use(record);
  }
}

Json corpus_manifest(const Path& corpus) {
  const Path path = corpus / "manifest.json";
  if (!path_exists(path))
    fail(ErrorCode::kNotFound,
         "{} is not a prepared corpus (no manifest.json): make it with `dure data prepare`",
         corpus.string());
  Json manifest = load_json(path);
  const Json* format = manifest.find("format");
  if (format == nullptr || !format->is_string() || format->as_string() != kFormat) {
    fail(ErrorCode::kInvalidArgument, "{}: not the manifest of a prepared corpus", path.string());
  }
  if (const int64_t version = manifest.at("version").as_int(path.string() + ": version");
      version != kVersion) {
    fail(ErrorCode::kUnsupported,
         "{}: version {}; this program reads version {}: prepare the corpus again", path.string(),
         version, kVersion);
  }
  return manifest;
}

std::vector<std::string> heldout_languages(const Path& corpus) {
  std::vector<std::string> languages;
  const Json manifest = corpus_manifest(corpus);
  for (const auto& [name, entry] : manifest.at("files").as_object()) {
    if (name.starts_with("heldout-")) languages.push_back(name.substr(8, name.size() - 8 - 6));
  }
  std::sort(languages.begin(), languages.end());
  return languages;
}

std::string chapter_of(const Path& path) {
  Path name = path.filename();
  if (name.extension() == ".gz" || name.extension() == ".zst") name = name.stem();
  const std::string stem = name.stem().string();
  size_t end = stem.size();
  while (end > 0 && std::isdigit(static_cast<unsigned char>(stem[end - 1]))) --end;
  const bool section = end < stem.size() && end > 1 && stem[end - 1] == 's';
  return section ? stem.substr(0, end - 1) : stem;
}

std::vector<std::string> cut_text(const std::string& text, int64_t bytes_max) {
  if (bytes_max == 0) return {text};
  std::vector<std::string> pieces;
  std::string_view rest = text;
  const size_t limit = static_cast<size_t>(std::max<int64_t>(bytes_max, 4));
  while (rest.size() > limit) {
    size_t cut = rest.rfind("\n\n", limit - 1), skip = 2;
    if (cut == std::string_view::npos || cut == 0) {
      cut = rest.rfind('\n', limit - 1);
      skip = 1;
    }
    if (cut == std::string_view::npos || cut == 0) {
      skip = 0;
      cut = utf8_start(rest, limit);
    }
    pieces.emplace_back(rest.substr(0, cut));
    rest.remove_prefix(cut + skip);
    while (rest.starts_with('\n')) rest.remove_prefix(1);
  }
  if (!rest.empty()) pieces.emplace_back(rest);
  return pieces;
}

}  // namespace dure
