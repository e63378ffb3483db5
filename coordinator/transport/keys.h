// CURVE key pairs as files: <folder>/<name>.public and <name>.secret (mode 0600), 40 characters of Z85 each; and the list of
// admitted agents: one line each, public key, a space, a name. An agent's public key is its identity.
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace quantfleet::coordinator {

struct KeyPair {
  std::string public_z85;
  std::string secret_z85;
};

bool is_z85_key(std::string_view text);
// An existing secret is never overwritten: an error.
Result<KeyPair> new_key_pair(const std::filesystem::path& folder, const std::string& name);
Result<KeyPair> read_key_pair(const std::filesystem::path& folder, const std::string& name);
// A public key given as itself or as a file that begins with it.
Result<std::string> public_key_from(const std::string& key_or_file);

using TrustedKeys = std::map<std::string, std::string>;  // key -> name
Result<TrustedKeys> read_trusted_keys(const std::filesystem::path& file);  // a missing file is an empty list
Status trust_key(const std::filesystem::path& file, const std::string& public_z85, const std::string& name);

// Writes a small file so that a reader sees the old or the new text, never half; mode as given.
Status write_small_file(const std::filesystem::path& file, std::string_view text, int mode);
std::string random_token();  // 64 hex digits from the operating system

}  // namespace quantfleet::coordinator
