/** Styles that only this page needs. */
import "@mantine/core/styles/Combobox.css";
import "@mantine/core/styles/Drawer.css";
import "@mantine/core/styles/Code.css";
import "@mantine/core/styles/Pagination.css";
import "@mantine/core/styles/Pill.css";
import "@mantine/core/styles/PillsInput.css";
import "@mantine/core/styles/Table.css";
import "@mantine/core/styles/Tabs.css";
