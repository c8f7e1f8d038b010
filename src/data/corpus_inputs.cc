// What a source names: files found, their kinds, the corpus they may be part of, their documents.
#include "data/corpus_inputs.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "data/input.h"
#include "data/text_extract.h"

namespace dure {
namespace {

namespace fs = std::filesystem;

enum class Kind { kText, kMarkdown, kHtml, kJsonl, kJson, kUnknown };

Kind kind_of(const Path& path) {
  const std::string extension = content_extension(path);
  if (extension == ".html" || extension == ".htm" || extension == ".xhtml") return Kind::kHtml;
  if (extension == ".md" || extension == ".markdown") return Kind::kMarkdown;
  if (extension == ".jsonl" || extension == ".ndjson") return Kind::kJsonl;
  if (extension == ".json") return Kind::kJson;
  return extension == ".txt" ? Kind::kText : Kind::kUnknown;
}

// Taken in folders without being asked for; a .json there is more often a setting than a record.
bool is_taken_in_folders(const Path& path) {
  const Kind kind = kind_of(path);
  return kind != Kind::kUnknown && kind != Kind::kJson;
}

// Tables, archives and documents of other programs would be trained on as they are, marks and all.
void require_text(const Path& path) {
  static const std::set<std::string> tables = {".csv", ".tsv",  ".parquet", ".arrow",
                                               ".xls", ".xlsx", ".sqlite",  ".db"};
  static const std::set<std::string> others = {".pdf", ".doc", ".docx", ".ppt", ".pptx",
                                               ".odt", ".rtf", ".epub", ".zip", ".tar",
                                               ".tgz", ".bz2", ".xz",   ".7z",  ".rar"};
  const std::string extension = content_extension(path);
  if (tables.contains(extension)) {
    fail(ErrorCode::kInvalidArgument,
         "{}: tables ({}) are not read: write the rows as JSONL, one {{\"text\": ...}} or "
         "{{\"messages\": [...]}} a line",
         path.string(), extension);
  }
  if (others.contains(extension)) {
    fail(ErrorCode::kInvalidArgument,
         "{}: {} files are not read: give text, Markdown, HTML or JSONL (also .gz, .zst)",
         path.string(), extension);
  }
}

// Prepared corpora among the inputs: what they hold out stays held out.
class PreparedFolders {
 public:
  // Absent where `file` is no part of a prepared corpus.
  std::optional<bool> heldout(const Path& file) {
    const std::optional<Json>& manifest = manifest_of(file.parent_path());
    const std::string name = file.filename().string();
    if (!manifest || !manifest->at("files").contains(name)) return std::nullopt;
    return name.starts_with("heldout-") || name == "chat-heldout.jsonl";
  }
  bool is_manifest(const Path& file) {
    return file.filename() == "manifest.json" && manifest_of(file.parent_path()).has_value();
  }

 private:
  const std::optional<Json>& manifest_of(const Path& folder) {
    const auto [at, is_new] = manifests_.try_emplace(folder.string());
    if (!is_new || !path_exists(folder / "manifest.json")) return at->second;
    try {
      at->second = corpus_manifest(folder.empty() ? Path(".") : folder);
      log_info("{} is a prepared corpus: its split is kept", folder.string());
    } catch (const Error&) {
      return at->second;  // Some other folder with a manifest.json.
    }
    return at->second;
  }
  std::map<std::string, std::optional<Json>> manifests_;
};

bool matches(const std::vector<std::string>& patterns, const Path& relative) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
    const std::string subject =
        pattern.find('/') == std::string::npos ? relative.filename().string() : relative.string();
    return ::fnmatch(pattern.c_str(), subject.c_str(), 0) == 0;
  });
}

// The innermost folder named by a language code. Without a list from the user, ISO 639-1 codes in
// wide use.
std::string language_of_folders(const Path& relative, const std::vector<std::string>& languages) {
  static const std::set<std::string> known = {
      "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr",
      "he", "hi", "hr", "hu", "id", "it", "ja", "ko", "lt", "lv", "ms", "nl", "no", "pl",
      "pt", "ro", "ru", "sk", "sl", "sr", "sv", "th", "tr", "uk", "ur", "vi", "zh"};
  std::string found;
  for (const Path& part : relative.parent_path()) {
    const std::string name = part.string();
    const bool wanted = std::find(languages.begin(), languages.end(), name) != languages.end();
    if (wanted || known.contains(name) || name.starts_with("zh_")) found = name;
  }
  return found;
}

bool is_hidden(const Path& relative) {
  return std::any_of(relative.begin(), relative.end(),
                     [](const Path& part) { return part.string().starts_with("."); });
}

// Regular files below `folder`, as sorted relative paths.
std::vector<Path> files_below(const Path& folder) {
  std::vector<Path> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const Path relative = entry->path().lexically_relative(folder);
    if (entry->is_regular_file() && !is_hidden(relative)) files.push_back(relative);
  }
  if (error) {
    errno = error.value();
    fail_errno("cannot read folder " + folder.string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

struct Search {
  const CorpusSource& source;
  const Path& out;
  std::vector<InputFile> files = {};
  PreparedFolders prepared = {};
};

void add_folder(Search& search, const Path& folder, int64_t& skipped_count) {
  const CorpusSource& source = search.source;
  const bool holds_out = lies_in(search.out, folder) && !lies_in(folder, search.out);
  for (const Path& relative : files_below(folder)) {
    if (holds_out && lies_in(folder / relative, search.out)) continue;
    if (search.prepared.is_manifest(folder / relative)) continue;
    if (!source.include.empty() && !matches(source.include, relative)) continue;
    if (matches(source.exclude, relative)) continue;
    if (source.include.empty() && !is_taken_in_folders(relative)) {
      ++skipped_count;
      continue;
    }
    std::string language = language_of_folders(relative, source.languages);
    const bool unwanted = !source.languages.empty() && !language.empty() &&
                          std::find(source.languages.begin(), source.languages.end(), language) ==
                              source.languages.end();
    if (unwanted) continue;
    require_text(folder / relative);
    search.files.push_back(
        {.path = folder / relative,
         .label = source.name.empty() ? relative.string() : source.name + "/" + relative.string(),
         .language = source.language.empty() ? language : source.language,
         .heldout = search.prepared.heldout(folder / relative),
         .form = source.format});
  }
}

void add_file(Search& search, const Path& path) {
  require_text(path);
  const CorpusSource& source = search.source;
  const std::string label = path.filename().string();
  const std::string folder_language = language_of_folders(path, source.languages);
  search.files.push_back({.path = path,
                          .label = source.name.empty() ? label : source.name + "/" + label,
                          .language = source.language.empty() ? folder_language : source.language,
                          .heldout = search.prepared.heldout(path),
                          .form = source.format});
}

void use_record(const InputFile& file, const JsonlReader& reader, Record record,
                CorpusReport& report, const std::function<void(Record)>& use) {
  if (!record.is_chat()) record.text = tidy_text(record.text);
  if (!record.is_chat() && record.text.empty())
    return report.bad.add(reader.place(), 0, "'text' holds nothing but white space");
  if (record.language.empty()) record.language = file.language;
  if (record.source.empty()) record.source = fmt::format("{}:{}", file.label, reader.number());
  use(std::move(record));
}

// A prepared file holds messages, whatever they were.
void log_forms(const InputFile& file, const ChatNotes& notes) {
  std::string list;
  for (const auto& [form, count] : notes.forms)
    list += fmt::format("{}{} {}", list.empty() ? "" : ", ", count, described(form));
  if (!list.empty() && !file.heldout) log_info("{}: {}", file.path.string(), list);
}

void read_records(const InputFile& file, JsonlReader& reader, CorpusReport& report,
                  const std::function<void(Record)>& use) {
  Record record;
  try {
    for (auto outcome = reader.next(record); outcome != JsonlReader::Outcome::kEnd;
         outcome = reader.next(record)) {
      if (outcome == JsonlReader::Outcome::kBad) {
        report.bad.add(reader.place(), 0, reader.problem());
      } else {
        use_record(file, reader, std::move(record), report, use);
      }
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) throw;
    report.bad.add(file.path.string(), reader.number() + 1, error.what());
  }
  log_forms(file, reader.notes());
  report.notes += reader.notes();
}

// Under a name that says nothing of records (.txt, none) they would be learnt with their braces.
void refuse_records_as_text(const std::string& content) {
  const std::string line = content.substr(0, content.find('\n'));
  if (!line.starts_with('{') || line.find_last_not_of(" \t\r") == std::string::npos ||
      line[line.find_last_not_of(" \t\r")] != '}')
    return;
  try {
    const Json first = parse_json(line, "line 1");
    for (const char* key :
         {"text", "messages", "conversations", "conversation", "instruction", "prompt", "chosen"}) {
      if (!first.contains(key)) continue;
      fail(ErrorCode::kUnsupported,
           "records ('{}') under the name of a text: let its name end in .jsonl", key);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnsupported) throw;
  }
}

std::string text_of_file(const InputFile& file) {
  const std::string content = read_input(file.path);
  const Kind kind = kind_of(file.path);
  if (kind == Kind::kHtml) return text_of_html(content, file.path.string());
  const std::string reason = not_utf8_reason(content);
  if (!reason.empty()) fail(ErrorCode::kCorrupt, "{}", reason);
  refuse_records_as_text(content);
  return kind == Kind::kMarkdown ? text_of_markdown(content) : tidy_text(content);
}

}  // namespace

bool lies_in(const Path& path, const Path& folder) {
  const Path inner = fs::weakly_canonical(fs::absolute(path));
  const Path outer = fs::weakly_canonical(fs::absolute(folder));
  const auto [end, rest] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return end == outer.end() || (end->empty() && std::next(end) == outer.end());
}

std::vector<InputFile> find_inputs(const CorpusSource& source, const Path& out,
                                   int64_t& skipped_count) {
  Search search{source, out};
  for (const std::string& name : source.paths) {
    const Path path(name);
    if (!path_exists(path)) {
      fail(ErrorCode::kNotFound, "no file or folder {}{}{}", name, source.hint.empty() ? "" : ": ",
           source.hint);
    }
    if (fs::is_directory(path)) {
      add_folder(search, path, skipped_count);
    } else {
      add_file(search, path);
    }
  }
  if (search.files.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "no usable file in {}: text, Markdown, HTML or JSONL (also .gz, .zst) is needed{}",
         source.paths.empty() ? "an empty list of paths" : source.paths.front(),
         source.include.empty()
             ? ""
             : fmt::format("; 'include' is {}", Json::array_of(source.include).dump()));
  }
  return std::move(search.files);
}

void read_documents(const InputFile& file, CorpusReport& report,
                    const std::function<void(Record)>& use) {
  const Kind kind = kind_of(file.path);
  try {
    if (kind == Kind::kJsonl || kind == Kind::kJson) {
      JsonlReader reader(file.path, file.form);
      return read_records(file, reader, report, use);
    }
    Record record{.text = text_of_file(file),
                  .messages = "",
                  .language = file.language,
                  .source = file.label};
    if (record.text.empty()) return report.bad.add(file.path.string(), 0, "no text in it");
    use(std::move(record));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt && error.code() != ErrorCode::kUnsupported) throw;
    report.bad.add(file.path.string(), 0, error.what());
  }
}

}  // namespace dure
