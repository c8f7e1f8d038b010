// A name with a `*` is matched against every file below a folder; one without is looked up.
#include "suite/data_files.h"

#include <fnmatch.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace dure {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFilesMax = 100000;  // looked at below one folder

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

Path hub_folder() {
  if (const std::string cache = variable("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const std::string home = variable("HF_HOME"); !home.empty()) return Path(home) / "hub";
  if (const std::string home = variable("HOME"); !home.empty())
    return Path(home) / ".cache" / "huggingface" / "hub";
  return {};
}

bool is_file(const Path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// The folder that a pattern's fixed part names: nothing outside it can match.
Path fixed_part(const std::string& pattern) {
  const std::string before = pattern.substr(0, pattern.find('*'));
  const size_t slash = before.rfind('/');
  return slash == std::string::npos ? Path() : Path(before.substr(0, slash));
}

std::vector<Path> matches(const Path& folder, const std::string& pattern) {
  std::vector<Path> out;
  std::error_code failed;
  fs::recursive_directory_iterator at(folder / fixed_part(pattern),
                                      fs::directory_options::skip_permission_denied, failed);
  for (size_t seen = 0; !failed && at != fs::recursive_directory_iterator() && seen < kFilesMax;
       ++seen, at.increment(failed)) {
    const std::string name = at->path().lexically_relative(folder).generic_string();
    if (is_file(at->path()) && ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0)
      out.push_back(at->path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// "shipped:NAME" lies in the program.
std::vector<Path> shipped_items(const SourceFile& file) {
  for (const std::string& name : file.paths)
    if (name.starts_with(kShippedItems)) return {name};
  return {};
}

std::vector<Path> named_in(const Path& folder, const std::string& name) {
  if (name.find('*') != std::string::npos) return matches(folder, name);
  const Path path = folder / name;
  return is_file(path) ? std::vector<Path>{path} : std::vector<Path>{};
}

std::vector<Path> snapshots(const TaskSource& source, const Path& hub) {
  std::vector<Path> out;
  if (source.huggingface.empty() || hub.empty()) return out;
  std::string name = source.huggingface;
  for (size_t at = 0; (at = name.find('/', at)) != std::string::npos;) name.replace(at, 1, "--");
  std::error_code failed;
  for (fs::directory_iterator at(hub / ("datasets--" + name) / "snapshots", failed), end;
       !failed && at != end; at.increment(failed)) {
    if (at->is_directory(failed)) out.push_back(at->path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Path> find_file(const SourceFile& file, const std::vector<Path>& folders) {
  if (std::vector<Path> shipped = shipped_items(file); !shipped.empty()) return shipped;
  for (const std::string& name : file.paths)
    if (Path(name).is_absolute() && is_file(name)) return {name};
  for (const Path& folder : folders) {
    for (const std::string& name : file.paths) {
      if (std::vector<Path> found = named_in(folder, name); !found.empty()) return found;
    }
  }
  return {};
}

bool holds_parquet(const std::vector<Path>& folders) {
  return std::any_of(folders.begin(), folders.end(),
                     [](const Path& folder) { return !matches(folder, "*.parquet").empty(); });
}

std::string file_names(const SourceFile& file) {
  std::string out = file.paths.front();
  for (size_t i = 1; i < file.paths.size(); ++i) out += " or " + file.paths[i];
  return out;
}

// A line that writes the split where the task looks first; "" where that is no form it can write.
std::string export_command(const TaskSpec& task, const std::string& folder) {
  const TaskSource& s = task.source;
  std::string name = s.files.front().paths.front();
  if (name.find('*') != std::string::npos) name = name.substr(0, name.find('*')) + "test.jsonl";
  if (name.ends_with(".json")) name += "l";
  const bool csv = name.ends_with(".csv");
  if (!csv && !name.ends_with(".jsonl")) return "";
  return fmt::format(
      "python3 -c \"from datasets import load_dataset; load_dataset('{}'{}, "
      "split='{}').{}('{}/{}'{})\"",
      s.huggingface, s.config.empty() ? "" : ", '" + s.config + "'", s.split,
      csv ? "to_csv" : "to_json", folder, name, csv ? "" : ", force_ascii=False");
}

std::string looked_in(const DataFolders& folders) {
  std::string out;
  for (const Path& folder : folders.folders) out += (out.empty() ? "" : ", ") + folder.string();
  if (out.empty()) return "no folder was given: --data DIR, or DURE_DATA";
  return "looked in " + out;
}

}  // namespace

DataFolders data_folders(const std::vector<std::string>& given) {
  DataFolders out{.folders = {given.begin(), given.end()}, .hub = hub_folder()};
  for (const Path& folder : out.folders) {
    if (!fs::is_directory(folder))
      fail(ErrorCode::kNotFound, "--data {}: there is no such folder", folder.string());
  }
  std::string rest = variable("DURE_DATA");
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) out.folders.emplace_back(rest.substr(0, end));
    rest.erase(0, std::min(rest.size(), end + 1));
  }
  return out;
}

std::vector<FoundFile> find_files(const TaskSource& source, const DataFolders& folders) {
  std::vector<Path> all = folders.folders;
  const std::vector<Path> cached = snapshots(source, folders.hub);
  all.insert(all.end(), cached.begin(), cached.end());
  std::vector<FoundFile> out;
  for (const SourceFile& file : source.files)
    out.push_back({.file = &file, .paths = find_file(file, all)});
  return out;
}

bool all_found(const std::vector<FoundFile>& files) {
  return std::all_of(files.begin(), files.end(),
                     [](const FoundFile& file) { return !file.paths.empty(); });
}

std::string missing_text(const TaskSpec& task, const std::vector<FoundFile>& files,
                         const DataFolders& folders) {
  const TaskSource& source = task.source;
  std::string out = fmt::format("{}: ", task.name);
  size_t named = 0;
  for (const FoundFile& file : files) {
    if (file.paths.empty()) out += (named++ > 0 ? "; " : "") + file_names(*file.file);
  }
  out += fmt::format(" {} missing ({})", named == 1 ? "is" : "are", looked_in(folders));
  std::string from = source.repository;
  if (!source.huggingface.empty())
    from += (from.empty() ? "" : ", ") + ("Hugging Face " + source.huggingface);
  if (!from.empty()) out += "\n    from: " + from;
  if (!source.licence.empty()) out += "\n    licence: " + source.licence;
  const std::string folder = folders.folders.empty() ? "DIR" : folders.folders.front().string();
  if (!source.place.empty()) out += "\n    place: " + source.place;
  if (source.huggingface.empty()) return out;
  if (holds_parquet(snapshots(source, folders.hub)))
    out += "\n    its Parquet files are in the Hugging Face cache, but Parquet is not read here";
  if (const std::string command = export_command(task, folder);
      !command.empty() && source.documents_free())
    out += "\n    export: " + command;
  return out;
}

}  // namespace dure
