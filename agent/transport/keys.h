// CURVE key pairs as files: <stem>.public and <stem>.secret, 40 characters of Z85 each, the second readable by its owner
// only. The public key is the agent's identity; the coordinator has a list of the admitted ones.
#pragma once

#include "contract/error.h"

#include <filesystem>
#include <string>
#include <string_view>

namespace quantfleet::agent {

struct KeyPair {
  std::string public_z85;
  std::string secret_z85;
};

KeyPair make_key_pair();
Result<KeyPair> read_key_pair(const std::filesystem::path& stem);
Status write_key_pair(const std::filesystem::path& stem, const KeyPair& keys);  // an existing secret is kept: error
Result<KeyPair> read_or_make_key_pair(const std::filesystem::path& stem);

bool is_z85_key(std::string_view text);
// A public key given as itself or as a file that begins with it.
Result<std::string> public_key_from(const std::string& key_or_path);

}  // namespace quantfleet::agent
