/** Styles that only this page needs. */
import "@mantine/core/styles/InlineInput.css";
import "@mantine/core/styles/Checkbox.css";
import "@mantine/core/styles/Code.css";
import "@mantine/core/styles/Grid.css";
import "@mantine/core/styles/NumberInput.css";
