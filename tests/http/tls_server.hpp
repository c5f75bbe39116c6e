// Hosts with TLS for one test: an authority, certificates, and answers written by hand.
#pragma once
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace ivl::test {

template <auto free>
struct Freed {
  template <class T>
  void operator()(T* pointer) const {
    free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;

/// Signed by `authority`, or by itself. `names` as in a subjectAltName; empty: an authority.
inline Certificate make_certificate(const Key& key, const std::string& names, X509* authority, EVP_PKEY* signer,
                                    int days = 1) {
  Certificate certificate(X509_new());
  X509_set_version(certificate.get(), 2);
  static std::atomic<int> serial = 1;
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -2 * 86400);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), days * 86400);
  X509_set_pubkey(certificate.get(), key.get());
  const std::string title = names.empty() ? "authority of a test" : "host of a test";
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(title.c_str()), -1, -1, 0);
  X509* issuer = authority ? authority : certificate.get();
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer));
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate.get(), nullptr, nullptr, 0);
  const int kind = names.empty() ? NID_basic_constraints : NID_subject_alt_name;
  X509_EXTENSION* extension =
      X509V3_EXT_conf_nid(nullptr, &context, kind, names.empty() ? "critical,CA:TRUE" : names.c_str());
  REQUIRE(extension != nullptr);
  X509_add_ext(certificate.get(), extension, -1);
  X509_EXTENSION_free(extension);
  REQUIRE(X509_sign(certificate.get(), signer, EVP_sha256()) > 0);
  return certificate;
}

/// Keys and certificates, and where the authority's lies.
struct Authority {
  Key key{EVP_EC_gen("P-256")};
  Certificate certificate = make_certificate(key, "", nullptr, key.get(), 30);

  void write(const std::filesystem::path& file) const {
    std::FILE* stream = std::fopen(file.c_str(), "w");
    REQUIRE(stream != nullptr);
    PEM_write_X509(stream, certificate.get());
    std::fclose(stream);
  }
};

/// Serves one connection after another. `answer` gets the request's head, and what it returns is sent.
class TlsServer {
 public:
  struct Request {
    std::string head, name;  ///< name: as in SNI
  };
  using Answer = std::function<std::string(const Request&)>;

  TlsServer(const Authority& authority, const std::string& names, Answer answer, int days = 1)
      : answer_(std::move(answer)), key_(EVP_EC_gen("P-256")), context_(SSL_CTX_new(TLS_server_method())) {
    const Certificate certificate =
        make_certificate(key_, names, authority.certificate.get(), authority.key.get(), days);
    REQUIRE(SSL_CTX_use_certificate(context_.get(), certificate.get()) == 1);
    REQUIRE(SSL_CTX_use_PrivateKey(context_.get(), key_.get()) == 1);
    listening_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(listening_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(listening_, 16) == 0);
    REQUIRE(::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~TlsServer() {
    ::shutdown(listening_, SHUT_RDWR);
    thread_.join();
    ::close(listening_);
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  std::uint16_t port() const { return port_; }
  int connections() const { return connections_; }

  std::atomic<bool> says_goodbye = true;  ///< ends with TLS's own end
  std::atomic<int> pause_ms = 0;          ///< between 100 bytes of an answer

 private:
  void serve() {
    sigset_t broken_pipe;  // for this thread: what is tested has to do without
    sigemptyset(&broken_pipe);
    sigaddset(&broken_pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    for (int socket; (socket = ::accept(listening_, nullptr, nullptr)) >= 0;) {
      ++connections_;
      const timeval limit{2, 0};
      ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
      ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
      const std::unique_ptr<SSL, Freed<SSL_free>> ssl(SSL_new(context_.get()));
      SSL_set_fd(ssl.get(), socket);
      if (SSL_accept(ssl.get()) == 1) talk(ssl.get());
      ::close(socket);
    }
  }

  void talk(SSL* ssl) {
    Request request;
    if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) request.name = name;
    char bytes[4096];
    for (int size; request.head.find("\r\n\r\n") == std::string::npos; request.head.append(bytes, std::size_t(size))) {
      if ((size = SSL_read(ssl, bytes, sizeof bytes)) <= 0) return;
    }
    const std::string answer = answer_(request);
    const std::size_t step = pause_ms > 0 ? 100 : 16384;
    for (std::size_t at = 0; at < answer.size(); at += step) {
      if (SSL_write(ssl, answer.data() + at, int(std::min(step, answer.size() - at))) <= 0) return;
      if (pause_ms > 0) ::usleep(useconds_t(pause_ms * 1000));
    }
    if (says_goodbye) SSL_shutdown(ssl);
  }

  Answer answer_;
  Key key_;
  std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>> context_;
  int listening_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_ = 0;
  std::thread thread_;
};

}  // namespace ivl::test
