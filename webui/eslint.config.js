import hooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

const features = ["accounts", "chat", "cluster", "playground", "presence"];

export default tseslint.config(
  { ignores: ["node_modules", "dist"] },
  ...tseslint.configs.strict,
  hooks.configs.flat["recommended-latest"],
  {
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "no-restricted-imports": ["error", { paths: [{ name: "socket.io-client", message: "only lib/socket.ts talks to the client" }] }],
    },
  },
  { files: ["src/lib/socket.ts"], rules: { "no-restricted-imports": "off" } },
  // Features never import one another.
  ...features.map((feature) => ({
    files: [`src/features/${feature}/**`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          paths: [{ name: "socket.io-client", message: "only lib/socket.ts talks to the client" }],
          patterns: features
            .filter((other) => other !== feature)
            .map((other) => ({ group: [`**/features/${other}/**`, `../${other}/**`, `../${other}`], message: "features never import one another" })),
        },
      ],
    },
  })),
);
