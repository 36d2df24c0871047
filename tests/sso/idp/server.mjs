// A real OpenID Connect provider (oidc-provider) for one client, with its own sign-in page. Arguments: the redirect URI
// and the client's secret. Writes its issuer to standard output once it listens.
import http from "node:http";
import { Provider } from "oidc-provider";

const [redirectUri, secret] = process.argv.slice(2);
const server = http.createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "weave",
      client_secret: secret,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code"],
      response_types: ["code"],
    }],
    pkce: { required: () => true },
    conformIdTokenClaims: false,
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
    cookies: { keys: ["only for tests"] },
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: "Ada Lovelace", groups: ["Looms"] }),
    }),
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
